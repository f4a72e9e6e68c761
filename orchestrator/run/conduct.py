"""A run from the first process to the last: start, wait until ready, rounds, modules, stop."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Protocol

from deploy.launch import Launcher
from deploy.launch.launcher import last_words
from node.errors import TABLE, HffmError, LaunchError
from node.plan import Plan
from node.wire.operator import Operator
from node.wire.status import error_named
from orchestrator.run.progress import Progress

_POLL_S = 0.1
_GRACE_S = 3.0  # for the tree to say why, once a process has ended


class Keeping(Protocol):
    """What is kept of a run."""

    def event(self, event: dict[str, Any]) -> None: ...

    def add_module(self, holder: str, module: str, data: bytes) -> None: ...


async def conduct(
    plan: Plan, folder: Path, launcher: Launcher, keep: Keeping, progress: Progress, rounds: int
) -> None:
    """Runs `rounds` rounds on fresh nodes. Whatever happens, no node is left behind.

    `folder` holds plan.json; the nodes' output goes to its logs/. Raises what made the run fail.
    """
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    operator = Operator(plan.root.id, plan.root.address or "")
    nodes = Nodes(plan, operator, launcher, logs)
    watching: asyncio.Future[None] | None = None
    try:
        progress.say(f"starting {len(plan.nodes)} nodes")
        await asyncio.to_thread(launcher.start, plan, folder / "plan.json", logs)
        await nodes.until("up", plan.limits.connect_s)
        watching = asyncio.ensure_future(watch(operator, keep, progress))
        await nodes.until("ready", plan.limits.join_s + _GRACE_S)
        progress.say("running")
        await operator.start_rounds(rounds)
        await nodes.until("ready", None)
        progress.say("collecting modules")
        await fetch_modules(operator, keep)
        progress.say("stopping")
        await operator.stop("the run is over")
        await asyncio.wait({watching}, timeout=plan.limits.lease_s)
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.wait({watching})
        await operator.close()
        await asyncio.to_thread(launcher.stop, _GRACE_S)


async def watch(operator: Operator, keep: Keeping, progress: Progress | None) -> None:
    """Hands every event on, until the root ends."""
    async for line in operator.watch():
        event = json.loads(line)
        keep.event(event)
        if progress is not None:
            progress.event(event)


async def fetch_modules(operator: Operator, keep: Keeping) -> None:
    async for manifest, file in operator.snapshot():
        keep.add_module(manifest.sender, manifest.module, file)


class Nodes:
    """The nodes of a run as seen from outside: through the root, and through the launcher."""

    def __init__(self, plan: Plan, operator: Operator, launcher: Launcher, logs: Path) -> None:
        self._plan = plan
        self._operator = operator
        self._launcher = launcher
        self._logs = logs
        self._suspect_since: float | None = None

    async def until(self, state: str, timeout_s: float | None) -> None:
        """Waits for a state of the root. Raises what made the run fail, or LaunchError."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            if await self._operator.is_up():
                status = await self._operator.status()
                if status.state == "failed":
                    raise error_named(status.error, status.message)
                if state in ("up", status.state):
                    return
            self._check_processes()
            if deadline is not None and time.monotonic() > deadline:
                raise LaunchError(
                    f"the nodes were not {state} after {timeout_s:g} s; see their output in {self._logs}"
                )
            await asyncio.sleep(_POLL_S)

    def _check_processes(self) -> None:
        """A node that has ended with an error ends the run, unless a quorum may do without it."""
        ended = {node: code for node, code in self._launcher.ended().items() if code != 0}
        root = self._plan.root.id
        fatal = [n for n in ended if n == root or self._plan.limits.quorum == 1]
        if not fatal and root not in self._launcher.ended():
            return
        self._suspect_since = self._suspect_since or time.monotonic()
        if root in self._launcher.ended() or time.monotonic() - self._suspect_since > _GRACE_S:
            node = (fatal or [root])[0]
            raise ended_early(node, ended.get(node, 0), self._logs / f"{node}.log")


def ended_early(node: str, code: int, log: Path) -> HffmError:
    """What to raise for a node whose process has ended: of its own kind, if its exit code names one."""
    words = last_words(log)
    kind = next((kind for kind, (exit_code, _) in TABLE.items() if exit_code == code), LaunchError)
    said = words.removeprefix(f"{node}: ") or f"it ended with exit code {code}"
    return kind(f"node '{node}': {said} (its output is in {log})")
