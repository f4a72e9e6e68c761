/*
 * For LD_PRELOAD into the kernel of a guest: lets it run on processors with AMX.
 *
 * Kernels before 6.13 hand the vector registers of a guest's process to ptrace in a buffer of 2696 bytes, and a host
 * takes them whole or not at all: with AMX they are 11 kB. No process in a guest has AMX, since its kernel does not
 * know the system call that asks for it, so what lies beyond the buffer is nought.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

typedef long (*ptrace_t)(int, int, void *, void *);

static char whole[1 << 16];
static size_t whole_size; /* of the host's registers; 0: not known yet */

static long set_registers(ptrace_t real, int pid, struct iovec *given)
{
	struct iovec all = {whole, sizeof whole};

	if (!whole_size) {
		if (real(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &all) < 0)
			return -1;
		whole_size = all.iov_len;
		memset(whole, 0, sizeof whole);
	}
	if (given->iov_len >= whole_size)
		return real(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, given);
	memcpy(whole, given->iov_base, given->iov_len);
	all.iov_len = whole_size;
	return real(PTRACE_SETREGSET, pid, (void *)NT_X86_XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	static ptrace_t real;
	va_list list;

	va_start(list, request);
	int pid = va_arg(list, int);
	void *address = va_arg(list, void *);
	void *data = va_arg(list, void *);
	va_end(list);
	if (!real)
		real = (ptrace_t)dlsym(RTLD_NEXT, "ptrace");
	if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE)
		return set_registers(real, pid, data);
	return real(request, pid, address, data);
}
