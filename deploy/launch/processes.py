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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.launch.launcher import NamespaceOf, Pack, on_the_host, packs, state_of
from node.errors import LaunchError
from node.gate import ENVIRONMENT as GATE
from node.plan import Plan
from node.security import ENVIRONMENT as CERTS

_READY_S = 120.0  # for torch to be imported, on a slow board


def environment(gate: Path) -> dict[str, str]:
    """What every node of this host gets: turns at computing, one thread each, and no network look-ups."""
    slots = len(os.sched_getaffinity(0))
    given = {name: value for name, value in os.environ.items() if name != CERTS}  # said to each node, or not
    return {
        **given,
        GATE: f"{slots}:{gate}",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "GRPC_VERBOSITY": os.environ.get("GRPC_VERBOSITY", "ERROR"),
        "PYTHONUNBUFFERED": "1",
        # glibc: keep freed memory, that of whole payloads too, and grow the heap in large steps, for fewer page
        # faults per transfer. Once one of these is set, the first no longer grows by itself.
        "MALLOC_MMAP_THRESHOLD_": "33554432",
        "MALLOC_TRIM_THRESHOLD_": "268435456",
        "MALLOC_TOP_PAD_": "16777216",
    }


@dataclass(frozen=True)
class _Given:
    """What the nodes of one plan are started with."""

    plan_file: Path = Path()
    logs: Path = Path()
    options: Sequence[str] = ()  # of `hffm-node`

    packs: Mapping[str, Pack] = field(default_factory=dict)  # by node: those that share its process

    @classmethod
    def of(cls, plan: Plan, plan_file: Path, logs: Path, options: Sequence[str]) -> _Given:
        return cls(plan_file, logs, options, {node: pack for pack in packs(plan) for node in pack})

    def arguments(self, pack: Pack) -> list[str]:
        state = state_of(self.logs, pack[0])
        state = state if len(pack) == 1 else state.parent
        return ["--plan", str(self.plan_file.resolve()), "--id", *pack, "--state", str(state), *self.options]

    def log(self, pack: Pack) -> Path:
        """The output of the process, to be found by the name of each of its nodes."""
        first = (self.logs / f"{pack[0]}.log").resolve()
        for other in pack[1:]:
            link = first.with_name(f"{other}.log")
            if not link.is_symlink():
                link.symlink_to(first.name)
        return first


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
        self._given = _Given()
        self._codes: dict[str, int] = {}
        self._listener = threading.Thread(target=self._listen, daemon=True, name="nursery")
        self._listener.start()

    def start(self, plan: Plan, plan_file: Path, logs: Path, options: Sequence[str] = ()) -> None:
        self._wait_until(
            lambda: self._ready, _READY_S, "the process that nodes are forked from did not start"
        )
        self._codes.clear()
        self._given = _Given.of(plan, plan_file, logs, options)
        for pack in packs(plan):
            self.restart(pack[0])

    def restart(self, node: str) -> None:
        pack = self._given.packs[node]
        with self._said:
            if self._running.intersection(pack):
                return  # with another node of its process
            for one in pack:
                self._codes.pop(one, None)
            self._running.update(pack)
        log = str(self._given.log(pack))
        what = {"id": pack[0], "arguments": self._given.arguments(pack), "log": log}
        self._order({"start": {**what, "namespace": self._namespace_of(pack[0])}})

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
                    pack = self._given.packs[message["ended"]]
                    self._codes.update(dict.fromkeys(pack, message["code"]))
                    self._running.difference_update(pack)
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
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}  # by the first node of each process
        self._given = _Given()

    def start(self, plan: Plan, plan_file: Path, logs: Path, options: Sequence[str] = ()) -> None:
        self._nodes.clear()
        self._given = _Given.of(plan, plan_file, logs, options)
        for pack in packs(plan):
            self.restart(pack[0])

    def restart(self, node: str) -> None:
        pack = self._given.packs[node]
        if (before := self._nodes.get(pack[0])) is not None and before.stdin is not None:
            if before.poll() is None:
                return  # started again with another node of its process
            before.stdin.close()
        own = ["--tied", *self._given.arguments(pack)]
        if (namespace := self._namespace_of(pack[0])) is None:
            command = [sys.executable, "-m", "node", *own]
        else:
            program = [sys.executable, "-m", "deploy.launch.shaped", *own]
            command = ["ip", "netns", "exec", namespace, *program]
        with self._given.log(pack).open("ab") as log:
            self._nodes[pack[0]] = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment(Path(self._gate.name)),
                start_new_session=True,
            )

    def ended(self) -> dict[str, int]:
        codes = {first: process.poll() for first, process in self._nodes.items()}
        ended = {first: code for first, code in codes.items() if code is not None}
        return {node: code for first, code in ended.items() for node in self._given.packs[first]}

    def stop(self, patience_s: float) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._alone(patience_s):
                return
            for process in self._nodes.values():
                process.send_signal(number)  # to none that has ended
        self._alone(patience_s)

    def close(self) -> None:
        for process in self._nodes.values():
            assert process.stdin is not None
            process.stdin.close()
        self._gate.cleanup()

    def _alone(self, patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while (busy := self._busy()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return not busy

    def _busy(self) -> bool:
        return any(process.poll() is None for process in self._nodes.values())
