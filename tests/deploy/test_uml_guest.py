"""Real guests with Debian's kernel: what goes in, what comes out, and that nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from deploy.links.uml import Kernel, registers, run_in_guest
from deploy.links.uml.kernel import lab_kernel
from deploy.links.uml.packages import CACHE, unpacked
from node.errors import LaunchError
from tests.deploy.guests import SMALL_MB, guests, kernel, python

REPOSITORY = Path(__file__).parents[2]


def test_output_exit_code_and_folder_come_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = f"""
import os, sys, numpy
print("to stdout", os.getuid())
print("to stderr", file=sys.stderr)
open({str(tmp_path / "result")!r}, "w").write("kept")
try:
    open("/etc/hffm-test", "w")
except OSError as error:
    print(error.strerror)
sys.exit(7)
"""
    assert python(tmp_path, code) == 7
    said = capfd.readouterr()
    assert said.out == "to stdout 0\nRead-only file system\n"
    assert said.err == "to stderr\n"
    assert (tmp_path / "result").read_text() == "kept"
    assert guests(tmp_path) == []


def test_much_output_comes_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert python(tmp_path, "for i in range(50_000): print(i)") == 0
    assert capfd.readouterr().out.split() == [str(i) for i in range(50_000)]


def test_netem_delays_between_namespaces_without_rights(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """30 ms each way, by the guest's own kernel; the host may lack netem and root."""
    code = """
import socket, subprocess, threading, time
from deploy.links.entering import enter
def ip(*words): subprocess.run(words, check=True)
for name in ("left", "right"):
    ip("ip", "netns", "add", name)
ip("ip", "-n", "left", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", "right")
for name, end, address in (("left", "near", 1), ("right", "far", 2)):
    ip("ip", "-n", name, "addr", "add", f"10.9.0.{address}/24", "dev", end)
    ip("ip", "-n", name, "link", "set", end, "up")
    ip("tc", "-n", name, "qdisc", "add", "dev", end, "root", "netem", "delay", "30ms")
enter("right")
server = socket.create_server(("10.9.0.2", 7000))
def answer():
    peer = server.accept()[0]
    while data := peer.recv(100): peer.send(data)
threading.Thread(target=answer, daemon=True).start()
enter("left")
client = socket.create_connection(("10.9.0.2", 7000))
tries = []
for _ in range(5):
    start = time.perf_counter(); client.send(b"x"); client.recv(1)
    tries.append(time.perf_counter() - start)
print(min(tries))
"""
    assert python(tmp_path, code) == 0
    assert 0.06 <= float(capfd.readouterr().out) < 0.075


def test_unknown_command_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = run_in_guest(["no-such-program"], tmp_path, {"PATH": os.defpath}, SMALL_MB, 60.0, kernel())
    assert code == 127
    assert "no-such-program: No such file" in capfd.readouterr().err


def test_too_slow_is_killed(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="not done after 8 s"):
        python(tmp_path, "import time; time.sleep(1000)", timeout_s=8.0)
    assert guests(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_guest_too(tmp_path: Path, number: signal.Signals) -> None:
    """Kindly, and whatever runs inside says its last words; after SIGKILL nobody hands anything on."""
    kernel()
    inner = """
import signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: sys.exit(9))
print("up", flush=True)
while True:  # Python sleeps through a signal that comes just before it falls asleep
    time.sleep(0.1)
"""
    code = f"""
import sys
from pathlib import Path
from tests.deploy.guests import python
sys.exit(python(Path({str(tmp_path)!r}), {inner!r}))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.wait(30) == (-signal.SIGKILL if number is signal.SIGKILL else 9)
    deadline = time.monotonic() + 10
    while guests(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert guests(tmp_path) == []


def test_what_is_missing_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    with pytest.raises(LaunchError, match="run `make lab-kernel`"):
        lab_kernel()
    with pytest.raises(LaunchError, match="needs as much room"):
        run_in_guest(["true"], tmp_path, {}, 1 << 40, 10.0, Kernel(Path("/bin/true")))
    monkeypatch.setattr("deploy.links.uml.guest.preloaded", dict)
    with pytest.raises(LaunchError, match="No such file or directory"):
        run_in_guest(["true"], tmp_path, {}, SMALL_MB, 10.0, Kernel(tmp_path / "gone"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="Debian packages flex, and apt-get or dpkg is not here"):
        unpacked("tools", ["flex"])


def test_processors_with_amx_get_a_library_or_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(registers, "_TOO_MANY", "no_such_flag")
    assert registers.preloaded() == {}
    monkeypatch.setattr(registers, "_TOO_MANY", "fpu")  # every processor's
    library = Path(registers.preloaded()["LD_PRELOAD"])
    assert library.read_bytes().startswith(b"\x7fELF")
    library.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="no C compiler: apt-get install gcc"):
        registers.preloaded()


def test_a_kernel_that_breaks_is_said(tmp_path: Path) -> None:
    program = tmp_path / "kernel"
    program.write_text(textwrap.dedent("#!/bin/sh\necho Kernel panic: no reason >&2\n"))
    program.chmod(0o755)
    with pytest.raises(LaunchError, match="the guest broke: Kernel panic: no reason"):
        run_in_guest(["true"], tmp_path, {}, SMALL_MB, 10.0, Kernel(program))
