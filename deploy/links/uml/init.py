"""Process 1 of a guest: mounts, loads modules, runs one command, says how it ended, powers off.

Started by the guest's kernel as `python -ISB init.py FILE`, with the standard library alone. FILE is the job as
JSON, see `Job` in guest.py. The guest's terminals: 1 and 2 are the command's standard output and error; 3 is the
control line, on which it says `up`, then `exit CODE` or `error MESSAGE`, and hears `signal NUMBER`, or the end when
the host's side is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import termios
import threading
import time
import tty
from pathlib import Path
from typing import Any

_MS_RDONLY = 1
_FINIT_MODULE = 313  # system call number on x86-64
_POWER_OFF = 0x4321FEDC
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_PATIENCE_S = 5.0  # for what the command has left behind to end by itself

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    control = -1
    try:
        _mount_system()
        control = _terminal(3)
        _say(control, "up")
        _mount_folders(job["writable"], job["hidden"])
        for module in job["modules"]:
            _load(module["file"], module["options"])
        _loopback_up()
        code = _run(job, control)
        os.sync()
        _say(control, f"exit {code}")
    except BaseException as error:  # noqa: BLE001  process 1 must not end, whatever happens
        _say(control, f"error {type(error).__name__}: {error}".replace("\n", " "))
    _libc.reboot(_POWER_OFF)


# -- the machine ------------------------------------------------------------------------------------------


def _mount_system() -> None:
    _mount("proc", "/proc")
    _mount("sysfs", "/sys")
    _mount("devtmpfs", "/dev")
    for folder in ("/dev/pts", "/dev/shm"):
        Path(folder).mkdir(exist_ok=True)
    _mount("devpts", "/dev/pts")
    _mount("tmpfs", "/dev/shm")
    _mount("tmpfs", "/run")
    Path("/run/tmp").mkdir()


def _mount_folders(writable: list[str], hidden: list[str]) -> None:
    """Host folders at their own paths: to be written, or to be seen although a mount above hides them."""
    for folder in hidden:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _mount("hostfs", folder, folder, _MS_RDONLY)
    for folder in writable:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _mount("hostfs", folder, folder)


def _mount(kind: str, target: str, data: str = "", flags: int = 0) -> None:
    done = _libc.mount(b"none", os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), os.fsencode(data))
    if done != 0 and ctypes.get_errno() == errno.EBUSY and kind == "devtmpfs":
        return  # CONFIG_DEVTMPFS_MOUNT: the kernel has done it
    _check(done, f"mount {kind} on {target}")


def _load(module: str, options: str) -> None:
    with open(module, "rb") as file:  # noqa: PTH123  its descriptor is what is wanted
        _check(_libc.syscall(_FINIT_MODULE, file.fileno(), options.encode(), 0), f"load {module}")


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")


# -- terminals --------------------------------------------------------------------------------------------


def _terminal(number: int) -> int:
    """Bytes in and out as they are."""
    opened = os.open(f"/dev/tty{number}", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(opened)
    return opened


def _say(control: int, line: str) -> None:
    if control < 0:
        print(line, file=sys.stderr, flush=True)  # on the console, where the kernel's own last words are read
        return
    os.write(control, line.encode() + b"\n")
    termios.tcdrain(control)


def _copy(source: int, terminal: int) -> None:
    """So that the command writes to a pipe: fast, and not taken for a person's terminal."""
    while data := os.read(source, 65536):
        while data:
            data = data[os.write(terminal, data) :]
    termios.tcdrain(terminal)


# -- the command ------------------------------------------------------------------------------------------


def _run(job: dict[str, Any], control: int) -> int:
    """The command's exit code, as a shell gives it. Ends whatever it has left behind."""
    copying, ends = [], []
    for number in (1, 2):
        source, end = os.pipe()
        ends.append(end)
        copying.append(threading.Thread(target=_copy, args=(source, _terminal(number)), daemon=True))
    child = os.fork()
    if child == 0:
        _become(job, *ends)
    for end in ends:
        os.close(end)
    for thread in (*copying, threading.Thread(target=_obey, args=(control, child), daemon=True)):
        thread.start()
    code = _await(child)
    _end_the_rest()
    for thread in copying:
        thread.join()
    return code


def _become(job: dict[str, Any], output: int, errors: int) -> None:
    """The forked child: never returns."""
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        os.chdir(job["folder"])
        os.execvpe(job["command"][0], job["command"], job["environment"])
    except OSError as error:
        os.write(2, f"error: {job['command'][0]}: {error.strerror}\n".encode())
    os._exit(127)


def _await(child: int) -> int:
    """Process 1 inherits every orphan, and buries it."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_the_rest() -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, number)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    time.sleep(0.05)
            except ChildProcessError:
                return


def _obey(control: int, child: int) -> None:
    """Signals from the host's side; without a host's side, nobody needs this guest."""
    with open(control, "rb", buffering=0, closefd=False) as lines:
        for line in lines:
            word, _, number = line.decode().partition(" ")
            if word == "signal":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, int(number))
    _libc.reboot(_POWER_OFF)


if __name__ == "__main__":
    main()
