"""What runs on a board while `--launcher ssh` has nodes there: starts them, hands on what they say, ends them.

`python -m deploy.launch.board`, started through ssh, reads one JSON object per line from standard input:
{"clock": true}, {"write": NAME, "text": TEXT}, {"start": NODE, "program": MODULE, "arguments": [...], "shapes":
INTERFACE or absent}, {"signal": NUMBER}; and writes one per line to standard output: {"board": {"version",
"machine", "python", "units", "folder"}}, {"clock": UNIX SECONDS}, {"log": NODE, "text": TEXT}, {"ended": NODE,
"code": N}. When standard input closes, because the orchestrator or the connection is gone, its nodes leave, and the
folder that it made for their files is removed.

Where systemd takes units of this user, every node is one, hffm-PID-NODE: `systemctl [--user] status 'hffm-*'`.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from deploy.launch.processes import environment
from deploy.links.interface import clear
from node import __version__
from node.errors import HffmError

_PATIENCE_S = 10.0
_TRIAL_S = 10.0
_LINE_BYTES = 64 << 20  # a plan is one line


class Board:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = environment(folder)
        self._manager = systemd_manager()
        self._nodes: dict[str, asyncio.subprocess.Process] = {}
        self._telling: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until standard input closes."""
        reader = asyncio.StreamReader(limit=_LINE_BYTES)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        say({"board": self._facts()})
        try:
            while line := await reader.readline():
                await self._obey(json.loads(line))
        finally:
            await self._end_all()

    def _facts(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "machine": platform.machine(),
            "python": platform.python_version(),
            "units": self._manager is not None,
            "folder": str(self._folder),
        }

    async def _obey(self, order: dict[str, Any]) -> None:
        if "clock" in order:
            say({"clock": time.time()})
        elif "write" in order:
            file = self._folder / order["write"]
            file.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
                opened.write(order["text"])
        elif "start" in order:
            await self._start(order["start"], [order["program"], *order["arguments"]], order.get("shapes"))
        else:
            self._signal(order["signal"])

    async def _start(self, node: str, arguments: list[str], shapes: str | None) -> None:
        command = [sys.executable, "-m", *arguments]
        if self._manager is not None:
            own = [f"--setenv={n}={v}" for n, v in self._environment.items() if os.environ.get(n) != v]
            unit = ["--quiet", "--collect", "--pipe", "--wait", f"--unit={unit_name(node)}", *own]
            command = ["systemd-run", *self._manager, *unit, *command]
        self._nodes[node] = process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
            limit=_LINE_BYTES,
        )
        task = asyncio.ensure_future(self._tell(node, process, shapes))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, node: str, process: asyncio.subprocess.Process, shapes: str | None) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            say({"log": node, "text": line.decode(errors="replace")})
        code = await process.wait()
        if shapes is not None:
            self._give_back(node, shapes)
        say({"ended": node, "code": code})

    def _give_back(self, node: str, interface: str) -> None:
        """However the node has ended."""
        try:
            clear(interface)
        except HffmError as error:
            say({"log": node, "text": f"{node} warning {interface} is still shaped: {error}\n"})

    def _signal(self, number: int) -> None:
        for node, process in self._nodes.items():
            if process.returncode is not None:
                continue
            if self._manager is not None:
                told = ["systemctl", *self._manager, "kill", f"--signal={number}", unit_name(node)]
                subprocess.run(told, capture_output=True, timeout=_TRIAL_S, check=False)
            else:
                with suppress(ProcessLookupError):
                    process.send_signal(number)

    async def _end_all(self) -> None:
        """They are tied to their standard input."""
        for process in self._nodes.values():
            assert process.stdin is not None
            process.stdin.close()
        if self._telling:
            _, left = await asyncio.wait(self._telling, timeout=_PATIENCE_S)
            if left:
                self._signal(signal.SIGKILL)
                await asyncio.wait(left, timeout=_PATIENCE_S)


def systemd_manager() -> list[str] | None:
    """Options that say whose units: `--user`, or the machine's for root. None: no systemd, or it takes no units."""
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemd-run") is None:
        return None
    manager = [] if os.geteuid() == 0 else ["--user"]
    trial = ["systemd-run", *manager, "--quiet", "--collect", "--wait", "true"]
    try:
        done = subprocess.run(trial, capture_output=True, timeout=_TRIAL_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    return manager if done.returncode == 0 else None


def unit_name(node: str) -> str:
    """Of letters that systemd takes; the process makes it this run's."""
    return f"hffm-{os.getpid()}-{re.sub(r'[^A-Za-z0-9_.-]', '_', node)}"


def say(message: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):  # the connection is gone: standard input says so too
        sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
        sys.stdout.buffer.flush()


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends with its standard input, and takes the nodes along
    with tempfile.TemporaryDirectory(prefix="hffm-board-") as folder:
        asyncio.run(Board(Path(folder)).run())


if __name__ == "__main__":
    main()
