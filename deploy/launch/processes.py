"""Nodes as processes of this host: forked from one that has torch imported, or one interpreter each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from deploy.launch.launcher import NamespaceOf, on_the_host, starting_order
from node.errors import LaunchError
from node.gate import ENVIRONMENT as GATE
from node.plan import Plan

_READY_S = 120.0  # for torch to be imported, on a slow board


def environment(gate: Path) -> dict[str, str]:
    """What every node of this host gets: turns at computing, one thread each, and no network look-ups."""
    slots = len(os.sched_getaffinity(0))
    return {
        **os.environ,
        GATE: f"{slots}:{gate}",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "GRPC_VERBOSITY": os.environ.get("GRPC_VERBOSITY", "ERROR"),
        "PYTHONUNBUFFERED": "1",
        # glibc: keep freed memory and grow the heap in large steps, for fewer page faults per transfer.
        "MALLOC_TRIM_THRESHOLD_": "268435456",
        "MALLOC_TOP_PAD_": "16777216",
    }


class ForkedLauncher:
    """All nodes forked from one process: seconds instead of minutes until dozens of them are up."""

    def __init__(self, namespace_of: NamespaceOf = on_the_host) -> None:
        self._namespace_of = namespace_of
        self._gate = tempfile.TemporaryDirectory(prefix="hffm-gate-")
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "deploy.launch.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(Path(self._gate.name)),
            start_new_session=True,
        )
        self._said = threading.Condition()
        self._ready = False
        self._closed = False
        self._running: set[str] = set()
        self._codes: dict[str, int] = {}
        self._listener = threading.Thread(target=self._listen, daemon=True, name="nursery")
        self._listener.start()

    def start(self, plan: Plan, plan_file: Path, logs: Path) -> None:
        self._wait_until(
            lambda: self._ready, _READY_S, "the process that nodes are forked from did not start"
        )
        self._codes.clear()
        for node in starting_order(plan):
            self._running.add(node)
            log = str((logs / f"{node}.log").resolve())
            what = {"plan": str(plan_file.resolve()), "id": node, "log": log}
            self._order({"start": {**what, "namespace": self._namespace_of(node)}})

    def ended(self) -> dict[str, int]:
        with self._said:
            return dict(self._codes)

    def stop(self, patience_s: float) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._alone(patience_s):
                return
            self._order({"signal": int(number)})
        self._alone(patience_s)

    def close(self) -> None:
        assert self._nursery.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._nursery.stdin.close()
        try:
            self._nursery.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._nursery.kill()
            self._nursery.wait()
        self._listener.join(timeout=5)
        assert self._nursery.stdout is not None
        self._nursery.stdout.close()
        self._gate.cleanup()

    def _alone(self, patience_s: float) -> bool:
        with self._said:
            return self._said.wait_for(lambda: self._closed or not self._running, timeout=patience_s)

    def _order(self, order: dict[str, Any]) -> None:
        assert self._nursery.stdin is not None
        try:
            self._nursery.stdin.write(json.dumps(order).encode() + b"\n")
            self._nursery.stdin.flush()
        except BrokenPipeError as error:
            raise LaunchError(
                "the process that nodes are forked from has ended; start the run again"
            ) from error

    def _listen(self) -> None:
        assert self._nursery.stdout is not None
        for line in self._nursery.stdout:
            message = json.loads(line)
            with self._said:
                self._ready = self._ready or "ready" in message
                if "ended" in message:
                    self._codes[message["ended"]] = message["code"]
                    self._running.discard(message["ended"])
                self._said.notify_all()
        with self._said:
            self._closed = True
            self._said.notify_all()

    def _wait_until(self, condition: Any, timeout_s: float, why: str) -> None:
        with self._said:
            done = self._said.wait_for(lambda: self._closed or condition(), timeout=timeout_s)
            if not done or self._closed:
                raise LaunchError(f"{why}; see the messages above")


class ProcessLauncher:
    """One Python interpreter per node, as on separate machines.

    Each holds the other end of a pipe from here, and leaves when it closes: nobody outlives the orchestrator.
    """

    def __init__(self, namespace_of: NamespaceOf = on_the_host) -> None:
        self._namespace_of = namespace_of
        self._gate = tempfile.TemporaryDirectory(prefix="hffm-gate-")
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, plan: Plan, plan_file: Path, logs: Path) -> None:
        self._nodes.clear()
        for node in starting_order(plan):
            command = [sys.executable, "-m", "node", "--plan", str(plan_file), "--id", node, "--tied"]
            if (namespace := self._namespace_of(node)) is not None:
                command = ["ip", "netns", "exec", namespace, *command]
            with (logs / f"{node}.log").open("ab") as log:
                self._nodes[node] = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=environment(Path(self._gate.name)),
                    start_new_session=True,
                )

    def ended(self) -> dict[str, int]:
        codes = {node: process.poll() for node, process in self._nodes.items()}
        return {node: code for node, code in codes.items() if code is not None}

    def stop(self, patience_s: float) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._alone(patience_s):
                return
            for node, process in self._nodes.items():
                if node not in self.ended():
                    process.send_signal(number)
        self._alone(patience_s)

    def close(self) -> None:
        for process in self._nodes.values():
            assert process.stdin is not None
            process.stdin.close()
        self._gate.cleanup()

    def _alone(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while len(self.ended()) < len(self._nodes) and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(self.ended()) == len(self._nodes)
