"""A run from the first process to the last: start, wait until ready, rounds, modules, stop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from hffm.v1.control_pb2 import StatusReply

from deploy.launch import Launcher
from deploy.launch.launcher import last_words
from deploy.launch.restarts import Restarts
from node.errors import TABLE, BusyError, HffmError, LaunchError, PeerError, UnreachableError
from node.plan import Plan
from node.security import Security
from node.wire.book import Dedupe
from node.wire.operator import Operator
from node.wire.status import error_named
from orchestrator.run.deciding import Deciding, Keeping
from orchestrator.run.progress import Progress
from orchestrator.run.securing import operator_tls

_POLL_S = 0.1
_GRACE_S = 3.0  # for the tree to say why, once a process has ended


async def conduct(
    plan: Plan,
    folder: Path,
    launcher: Launcher,
    security: Security,
    keep: Keeping,
    progress: Progress,
    rounds: int,
    restarts: int = 0,
) -> None:
    """Starts the nodes, and goes on until `rounds` rounds are done. Whatever happens, no node is left behind.

    `folder` holds plan.json; the nodes' output goes to its logs/, their journals to its state/. `restarts`: how
    often each node that ends before its time is started again. Raises what made the run fail.
    """
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    operator = Operator(plan.root.id, plan.root.address or "", operator_tls(plan, security.certs))
    nodes = Nodes(plan, operator, Restarts(launcher, restarts, progress.say), logs)
    watching: asyncio.Future[None] | None = None
    deciding = Deciding(plan, plan.policy, keep) if plan.policy is not None else None
    try:
        progress.say(f"starting {len(plan.nodes)} nodes")
        await asyncio.to_thread(launcher.start, plan, folder / "plan.json", logs, security.options)
        await nodes.until("up", plan.limits.connect_s)
        watching = asyncio.ensure_future(watch(operator, deciding or keep, progress))
        await nodes.until("ready", plan.limits.join_s + _GRACE_S)
        progress.say("running")
        await _rounds(nodes, operator, rounds, deciding)
        progress.say("collecting modules")
        await nodes.persist(lambda: fetch_modules(operator, keep))
        progress.say("stopping")
        await nodes.persist(lambda: operator.stop("the run is over"))
        await asyncio.wait({watching}, timeout=plan.limits.lease_s)
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.wait({watching})
        await operator.close()
        await asyncio.to_thread(launcher.stop, _GRACE_S)


async def _rounds(nodes: Nodes, operator: Operator, rounds: int, deciding: Deciding | None) -> None:
    """A root in a new life goes on by itself with what it has been asked for."""
    while (done := (await nodes.until("ready", None)).rounds_done) < rounds:
        order = (rounds - done, None, "") if deciding is None else await deciding.next(done, rounds - done)
        with suppress(BusyError, PeerError):  # it has gone on with them already, or is in a new life
            await operator.start_rounds(*order)


async def watch(operator: Operator, keep: Keeping, progress: Progress | None) -> None:
    """Hands every event on, each once, until the root ends; a root in a new life tells all of them again."""
    told = Dedupe()
    while True:
        try:
            async for line in operator.watch():
                event = json.loads(line)
                if told.is_new(event):
                    keep.event(event)
                    if progress is not None:
                        progress.event(event)
            return
        except PeerError:
            await asyncio.sleep(_POLL_S)


async def fetch_modules(operator: Operator, keep: Keeping) -> None:
    async for manifest, file in operator.snapshot():
        keep.add_module(manifest.sender, manifest.module, file)


class Nodes:
    """The nodes of a run as seen from outside: through the root, and through the launcher."""

    def __init__(self, plan: Plan, operator: Operator, restarts: Restarts, logs: Path) -> None:
        self._plan = plan
        self._operator = operator
        self._restarts = restarts
        self._logs = logs
        self._suspect_since: float | None = None

    async def persist(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Asks the root again when it has lost its life over it, and has got a new one."""
        while True:
            try:
                return await ask()
            except PeerError:
                await self.until("ready", None)

    async def until(self, state: str, timeout_s: float | None) -> StatusReply:
        """Waits for a state of the root. Raises what made the run fail, or LaunchError."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            status = await self._status()
            if status is not None and status.state == "failed":
                raise error_named(status.error, status.message)
            if status is not None and state in ("up", status.state):
                return status
            self._check_processes()
            if deadline is not None and time.monotonic() > deadline:
                raise LaunchError(
                    f"the nodes were not {state} after {timeout_s:g} s; see their output in {self._logs}"
                )
            await asyncio.sleep(_POLL_S)

    async def _status(self) -> StatusReply | None:
        """None: it does not answer."""
        with suppress(UnreachableError):
            if await self._operator.is_up():
                return await self._operator.status()
        return None

    def _check_processes(self) -> None:
        """A node that has ended with an error ends the run, unless a quorum may do without it."""
        all_ended = self._restarts.ended()
        ended = {node: code for node, code in all_ended.items() if code != 0}
        root, limits = self._plan.root.id, self._plan.limits
        all_needed = limits.quorum == 1 and limits.on_failed_round == "stop"
        fatal = [n for n in ended if n == root or all_needed]
        if not fatal and root not in all_ended:
            self._suspect_since = None
            return
        self._suspect_since = self._suspect_since or time.monotonic()
        if root in all_ended or time.monotonic() - self._suspect_since > _GRACE_S:
            node = (fatal or [root])[0]
            raise ended_early(node, ended.get(node, 0), self._logs / f"{node}.log")


def ended_early(node: str, code: int, log: Path) -> HffmError:
    """What to raise for a node whose process has ended: of its own kind, if its exit code names one."""
    words = last_words(log)
    kind = next((kind for kind, (exit_code, _) in TABLE.items() if exit_code == code), LaunchError)
    said = words.removeprefix(f"{node}: ") or f"it ended with exit code {code}"
    return kind(f"node '{node}': {said} (its output is in {log})")
