"""Nodes that stay: started by `hffm up`, told to run rounds, ended by `hffm down`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hffm.v1.control_pb2 import StatusReply
from pydantic import BaseModel, ValidationError

from deploy.launch.launcher import last_words
from node.errors import BusyError, HffmError, LaunchError, RunFolderError
from node.plan import Plan, load_plan
from node.security import Security
from node.wire.operator import Operator
from node.wire.status import error_named
from orchestrator.record.folder import RunRecord
from orchestrator.record.runs import PLAN, SUMMARY
from orchestrator.run.conduct import ended_early, fetch_modules, watch
from orchestrator.run.progress import Progress
from orchestrator.run.running import RUNS
from orchestrator.run.securing import operator_tls

_STANDING = "standing.json"
_POLL_S = 0.2
_STOP_S = 20.0


class Standing(BaseModel):
    """Who keeps the nodes of a run folder alive."""

    keeper_pid: int
    launcher: str
    certs: Path | None = None  # of the nodes, and of who tells them what to do


@dataclass(frozen=True)
class Up:
    """Nodes that stay."""

    folder: Path
    plan: Plan
    certs: Path | None


def start(plan: Plan, folder: Path, launcher: str, security: Security, restarts: int = 0) -> Up:
    """Starts the nodes of the plan in `folder`, to outlive this command."""
    logs = folder / "logs"
    logs.mkdir()
    with (folder / "keeper.log").open("wb") as log:
        command = [sys.executable, "-m", "deploy.launch.keeper", launcher, str(folder / PLAN), str(logs)]
        command += [str(restarts), *security.options]
        keeper = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    certs = None if security.certs is None else security.certs.resolve()
    standing = Standing(keeper_pid=keeper.pid, launcher=launcher, certs=certs)
    (folder / _STANDING).write_text(standing.model_dump_json())
    return Up(folder, plan, certs)


async def until_ready(up: Up, progress: Progress) -> StatusReply:
    """Waits for the ready barrier. Ends the nodes and raises why when it is not reached."""
    plan, folder = up.plan, up.folder
    deadline = time.monotonic() + plan.limits.connect_s + plan.limits.join_s
    ready = -1
    try:
        async with operator_of(up) as operator:
            while True:
                if await operator.is_up():
                    status = await operator.status()
                    if status.state == "failed":
                        raise error_named(status.error, status.message)
                    if status.state == "ready":
                        return status
                    now = sum(n.phase == "ready" for n in status.nodes)
                    if now != ready:
                        ready = now
                        progress.say(f"{ready} of {len(plan.nodes)} nodes are ready")
                if not _keeper_runs(folder):
                    raise _why_ended(plan, folder)
                if time.monotonic() > deadline:
                    raise LaunchError(
                        f"the nodes were not ready in time; see their output in {folder / 'logs'}"
                    )
                await asyncio.sleep(_POLL_S)
    except BaseException:
        await asyncio.to_thread(end_by_force, folder)
        raise


def _why_ended(plan: Plan, folder: Path) -> HffmError:
    for node in plan.nodes:
        log = folder / "logs" / f"{node.id}.log"
        if log.exists() and last_words(log) and "error: " in log.read_text(errors="replace"):
            return ended_early(node.id, 21, log)
    return LaunchError(f"the nodes have ended: {last_words(folder / 'keeper.log') or 'see ' + str(folder)}")


def find(folder: Path | None, certs: Path | None = None) -> Up:
    """The nodes of a run folder: the given one, or the newest below runs/. `certs`: in place of those of `up`."""
    if folder is None:
        candidates = sorted(RUNS.glob(f"*/{_STANDING}"), key=lambda p: p.stat().st_mtime, reverse=True)
        folder = next((p.parent for p in candidates if not (p.parent / SUMMARY).exists()), None)
        if folder is None:
            raise RunFolderError(f"no nodes are up below {RUNS}/: start some with `hffm up`, or give --run")
    if not (folder / PLAN).is_file():
        raise RunFolderError(
            f"{folder}: no nodes were started here with `hffm up`, or by hand from its plan.json"
        )
    certs = certs or (_standing(folder).certs if (folder / _STANDING).exists() else None)
    return Up(folder, load_plan(folder / PLAN), certs)


@asynccontextmanager
async def operator_of(up: Up) -> AsyncIterator[Operator]:
    root = up.plan.root
    operator = Operator(root.id, root.address or "", operator_tls(up.plan, up.certs))
    try:
        yield operator
    finally:
        await operator.close()


async def start_rounds(up: Up, count: int) -> int:
    """Index of the first round. Raises BusyError while rounds run."""
    async with operator_of(up) as operator:
        return await operator.start_rounds(count)


async def follow(up: Up, progress: Progress) -> None:
    """Waits until the rounds are over; raises why when they failed."""
    async with operator_of(up) as operator:
        watching = asyncio.ensure_future(watch(operator, _Nothing(), progress))
        try:
            status = await operator.status()
            while status.state == "running":
                await asyncio.sleep(_POLL_S)
                status = await operator.status()
            if status.state == "failed":
                raise error_named(status.error, status.message)
        finally:
            watching.cancel()
            await asyncio.wait({watching})


async def end(up: Up, record: RunRecord) -> HffmError | None:
    """Takes events and modules, stops the nodes; what had made the run fail, if something had."""
    failure: HffmError | None = None
    async with operator_of(up) as operator:
        status = await operator.status()
        if status.state == "running":
            raise BusyError("rounds are running: wait until they are over, or end the nodes with --force")
        if status.state == "failed":
            failure = error_named(status.error, status.message)
        watching = asyncio.ensure_future(watch(operator, record, None))
        if status.state == "ready":
            await fetch_modules(operator, record)
        await operator.stop("hffm down")
        await asyncio.wait({watching}, timeout=_STOP_S)
        watching.cancel()
        await asyncio.wait({watching})
    await asyncio.to_thread(end_by_force, up.folder)
    return failure


def end_by_force(folder: Path) -> None:
    """Waits until the keeper has ended; tells it to, and makes it, when it does not."""
    if not (folder / _STANDING).exists():
        return  # nodes that were started by hand have no keeper
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with suppress(ProcessLookupError):
                os.kill(_standing(folder).keeper_pid, number)
        deadline = time.monotonic() + (_STOP_S if number is not None else 2.0)
        while time.monotonic() < deadline:
            if not _keeper_runs(folder):
                return
            time.sleep(0.05)


def _standing(folder: Path) -> Standing:
    try:
        return Standing.model_validate_json((folder / _STANDING).read_bytes())
    except (OSError, ValidationError) as error:
        raise RunFolderError(f"{folder / _STANDING}: not readable; end the nodes by hand") from error


def _keeper_runs(folder: Path) -> bool:
    pid = _standing(folder).keeper_pid
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # where it is a child of this command, it would stay a zombie
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"deploy.launch.keeper" in command  # not another process that got the number since


class _Nothing:
    """Keeps nothing: the root has every event until `hffm down`."""

    def event(self, event: object) -> None:
        return

    def add_module(self, holder: str, module: str, data: bytes) -> None:
        return
