"""Nodes as real processes that can be killed and started again, with arithmetic in the place of learning.

They are forked from one process, which holds no gRPC, so that a node in a new life is up at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import node.roles.device
from node.errors import HffmError, PeerError
from node.learning.learner import Trained
from node.log import NodeLog, stderr_sink
from node.payload import Values
from node.plan import Plan
from node.roles.life import live
from node.wire.book import Dedupe
from node.wire.operator import Operator
from tests.federation import ArithmeticLearner

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.household"])
_PATIENCE_S = 60.0


class SlowLearner(ArithmeticLearner):
    """Long enough to be killed in the middle of it."""

    def train(self, modules: Mapping[str, Values], round_index: int) -> Trained:
        time.sleep(0.03)
        return super().train(modules, round_index)


class Household:
    """The nodes of one plan; `folder` takes their state and their output."""

    def __init__(self, plan: Plan, folder: Path, learner: type = SlowLearner) -> None:
        self.plan = plan
        self.folder = folder
        self.events: list[dict[str, Any]] = []
        self.changed = asyncio.Event()  # an event came
        self.operator = Operator(plan.root.id, plan.root.address or "")
        self._orders, there = _SERVER.Pipe()
        self._mother = _SERVER.Process(target=_mother, args=(plan, folder, learner, there))
        self._mother.start()
        there.close()

    def start(self, node: str) -> None:
        self._ask("start", node)

    def kill(self, node: str, number: int = signal.SIGKILL) -> bool:
        """Whether it was running; when this returns it is not, or has the signal."""
        return bool(self._ask("kill", node, int(number)))

    def ended(self) -> dict[str, int]:
        """Exit codes of the nodes that have ended and were not started again."""
        found: dict[str, int] = self._ask("ended")
        return found

    def _ask(self, *order: Any) -> Any:
        self._orders.send(order)
        return self._orders.recv()

    async def until_state(self, state: str, rounds_done: int = 0, timeout_s: float = _PATIENCE_S) -> None:
        """Waits for a state of the root, which may be dead meanwhile; fails when the run has failed."""
        async with asyncio.timeout(timeout_s):
            while True:
                with contextlib.suppress(PeerError):
                    status = await self.operator.status()
                    assert status.state != "failed", f"{status.error}: {status.message}"
                    if status.state == state and status.rounds_done >= rounds_done:
                        return
                await asyncio.sleep(0.02)

    async def modules(self) -> dict[tuple[str, str], bytes]:
        """(holder, module) -> the safetensors file."""
        return {(m.sender, m.module): file async for m, file in self.operator.snapshot()}

    async def watch(self) -> None:
        told = Dedupe()
        while True:
            with contextlib.suppress(PeerError):
                async for line in self.operator.watch():
                    event = json.loads(line)
                    if told.is_new(event):
                        self.events.append(event)
                        self.changed.set()
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        await self.operator.close()
        self._orders.send(("close",))
        self._orders.close()
        self._mother.join(20)
        self._mother.kill()


@asynccontextmanager
async def household(plan: Plan, folder: Path, learner: type = SlowLearner) -> AsyncIterator[Household]:
    """All nodes started, and none left."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    home = Household(plan, folder, learner)
    for one in plan.nodes:
        home.start(one.id)
    watching = asyncio.create_task(home.watch())
    try:
        yield home
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await home.close()


def _mother(plan: Plan, folder: Path, learner: type, orders: Connection) -> None:
    node.roles.device.Learner = learner  # type: ignore[misc,assignment]
    pids: dict[str, int] = {}
    codes: dict[str, int] = {}
    with contextlib.suppress(EOFError):
        while (order := orders.recv())[0] != "close":
            _reap(pids, codes)
            if order[0] == "start":
                codes.pop(order[1], None)
                pids[order[1]] = os.fork()
                if pids[order[1]] == 0:
                    _become(plan, order[1], folder)
                orders.send(True)
            elif order[0] == "kill":
                running = order[1] in pids
                if running:
                    os.kill(pids[order[1]], order[2])
                    if order[2] == signal.SIGKILL:
                        os.waitpid(pids.pop(order[1]), 0)
                        codes[order[1]] = -signal.SIGKILL
                orders.send(running)
            else:
                orders.send(dict(codes))
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _reap(pids: dict[str, int], codes: dict[str, int]) -> None:
    for name, pid in list(pids.items()):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            del pids[name]
            codes[name] = os.waitstatus_to_exitcode(status)


def _become(plan: Plan, node_id: str, folder: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.open(folder / "logs" / f"{node_id}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 70
    try:
        asyncio.run(live(plan, node_id, NodeLog(node_id, stderr_sink), state=folder / "state" / node_id))
        code = 0
    except HffmError as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - a bug: it belongs into the log
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
