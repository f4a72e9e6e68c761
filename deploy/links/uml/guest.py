"""One guest: boots, runs one command on the host's files, powers off."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.links.uml.kernel import Kernel
from deploy.links.uml.lines import Lines
from deploy.links.uml.memory import memory_folder
from deploy.links.uml.registers import preloaded
from node.errors import Interrupted, LaunchError

_BOOT_S = 60.0  # until the guest's process 1 must have said something; seconds on any host
_PATIENCE_S = 20.0  # for the command to leave after the first signal
_EPOCH_S = 1_735_689_600  # 2025-01-01: when virtual time begins, so that whatever tells the time repeats
_HIDDEN = ("/run", "/dev", "/proc", "/sys")  # the guest's own


@dataclass(frozen=True)
class Job:
    """What process 1 of the guest is to do; init.py reads it as JSON."""

    command: list[str]
    folder: str  # working folder
    environment: dict[str, str]
    writable: list[str]  # folders of the host that the command may write to, at the same paths
    hidden: list[str]  # folders of the host that the guest's own mounts would hide
    modules: list[dict[str, str]]  # kernel modules in order: file, options


def run_in_guest(
    command: Sequence[str],
    out: Path,
    environment: Mapping[str, str],
    memory_mb: int,
    timeout_s: float,
    kernel: Kernel,
) -> int:
    """Runs a command of the host in a guest, as its root; its exit code.

    The command sees the host's files, `out` alone can be written to, and what it says comes out of this process's
    standard output and error. Ctrl-C and SIGTERM are handed on to it, once kindly. `timeout_s`: on the host's
    clock, after which the guest is killed. Nothing of the guest is left, however it ends. Raises LaunchError when
    the guest does not come up, breaks, or is too slow; Interrupted when it had to be killed after a signal.
    """
    out = out.resolve()
    with tempfile.TemporaryDirectory(prefix="hffm-guest-") as scratch:
        script = _prepare(Path(scratch), command, out, environment, kernel)
        with _Guest(_boot_line(kernel, memory_mb, Path(scratch), script), kernel, memory_mb) as guest:
            return guest.attend(timeout_s)


def _prepare(
    scratch: Path, command: Sequence[str], out: Path, environment: Mapping[str, str], kernel: Kernel
) -> Path:
    """The script that the guest's kernel starts as process 1."""
    needed = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[3], scratch, Path.cwd()]
    job = Job(
        command=list(command),
        folder=str(Path.cwd()),
        environment={"TMPDIR": "/run/tmp", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        writable=[str(out)],
        hidden=[str(f) for f in needed if any(f.is_relative_to(h) for h in _HIDDEN)],
        modules=[
            {"file": str(file), "options": "disable_ipv6=1" if file.stem == "ipv6" else ""}
            for file in kernel.modules
        ],
    )
    (scratch / "job.json").write_text(json.dumps(asdict(job)))
    init = Path(__file__).with_name("init.py")
    start = shlex.join([sys.executable, "-ISB", str(init), str(scratch / "job.json")])
    script = scratch / "init"
    script.write_text(f"#!/bin/sh\nexec {start}\n")
    script.chmod(0o755)
    return script


def _boot_line(kernel: Kernel, memory_mb: int, scratch: Path, script: Path) -> list[str]:
    line = [
        str(kernel.program),
        f"mem={memory_mb}M",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={script}",
        "quiet",
        f"umid={scratch.name}",
        f"uml_dir={scratch}",
        "con=null",
        "ssl=null",
    ]
    if kernel.virtual_time:
        # Without randomised addresses nothing that sorts by address differs from run to run.
        line += ["time-travel=inf-cpu", f"time-travel-start={_EPOCH_S * 10**9}", "norandmaps"]
    if not kernel.modules:  # else it is a module, and its parameter says so
        line.append("ipv6.disable_ipv6=1")
    return line


class _Guest:
    """The program that is the guest, and the lines to it. As a context, it is gone at the end."""

    def __init__(self, boot_line: list[str], kernel: Kernel, memory_mb: int) -> None:
        self._kernel = kernel
        self._output, self._errors = Lines(sys.stdout), Lines(sys.stderr)
        self._said, self._kernel_said = Lines(), Lines()
        control, self._control = os.pipe()
        ends = [self._kernel_said.end, self._output.end, self._errors.end, self._said.end]
        consoles = [
            f"con0=null,fd:{ends[0]}",
            f"con1=null,fd:{ends[1]}",
            f"con2=null,fd:{ends[2]}",
            f"con3=fd:{control},fd:{ends[3]}",
        ]
        seed = {"HFFM_LAB_SEED": "1"} if kernel.virtual_time else {}
        try:
            self._process = subprocess.Popen(
                [*boot_line, *consoles],
                stdin=subprocess.DEVNULL,
                stdout=ends[0],
                stderr=ends[0],
                pass_fds=(*ends, control),
                start_new_session=True,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "TMPDIR": str(memory_folder(memory_mb)),
                    **preloaded(),
                    **seed,
                },
            )
        except OSError as error:
            raise LaunchError(
                f"{kernel.program}: {error.strerror}; remove it and let it be fetched anew"
            ) from error
        for descriptor in (*ends, control):
            os.close(descriptor)

    def __enter__(self) -> _Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        for lines in (self._output, self._errors, self._said, self._kernel_said):
            lines.close()
        os.close(self._control)

    def attend(self, timeout_s: float) -> int:
        """Hands on what the guest says, until it is gone."""
        started = time.monotonic()
        give_up = started + timeout_s
        with _signals() as (wake, received), selectors.DefaultSelector() as selector:
            for lines in (self._output, self._errors, self._said, self._kernel_said):
                selector.register(lines.source, selectors.EVENT_READ, lines)
            selector.register(wake, selectors.EVENT_READ, None)
            while len(selector.get_map()) > 1:
                for key, _ in selector.select(max(0.0, min(give_up - time.monotonic(), 1.0))):
                    if key.data is None:
                        os.read(wake, 64)
                        give_up = min(give_up, self._hand_on(received))
                    elif not key.data.hand_on():
                        selector.unregister(key.fileobj)
                if time.monotonic() > give_up:
                    self._too_late(received, timeout_s)
                if not self._said.text and time.monotonic() > started + _BOOT_S:
                    raise LaunchError(f"the guest did not come up in {_BOOT_S:g} s{self._last_words()}")
        return self._verdict()

    def _hand_on(self, received: list[int]) -> float:
        """The signal, to the command; when patience ends. The second one is not handed on."""
        if len(received) > 1:
            return 0.0
        os.write(self._control, f"signal {received[0]}\n".encode())
        return time.monotonic() + _PATIENCE_S

    def _too_late(self, received: list[int], timeout_s: float) -> None:
        if received:
            raise Interrupted(f"ended by {signal.Signals(received[0]).name}; the guest was killed")
        raise LaunchError(f"the guest was not done after {timeout_s:g} s and was killed; give it more time")

    def _verdict(self) -> int:
        for line in self._said.text.decode(errors="replace").splitlines():
            word, _, rest = line.partition(" ")
            if word == "exit":
                return int(rest)
            if word == "error":
                raise LaunchError(f"the guest could not be set up: {rest}")
        raise LaunchError(f"the guest broke{self._last_words()}")

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._kernel_said.text.decode(errors="replace").splitlines()]
        words = [line for line in lines if line]
        telling = [w for w in words if "panic" in w or "rror" in w or "ailed" in w]
        return f": {(telling or words)[-1]}" if words else ", and its kernel said nothing"

    def _kill(self) -> None:
        """The kernel and the processes that stand for the guest's: one group on the host."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def _signals() -> Iterator[tuple[int, list[int]]]:
    """SIGINT and SIGTERM as something to read, and which they were; as before afterwards."""
    received: list[int] = []
    wake, ring = os.pipe()

    def note(number: int, _: object) -> None:
        received.append(number)
        os.write(ring, b".")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wake, received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(wake)
        os.close(ring)
