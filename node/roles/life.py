"""The life of one node: join, be ready, obey, leave."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hffm.v1 import membership_pb2 as pb
from hffm.v1.control_pb2_grpc import add_ControlServicer_to_server

from node import __version__
from node.errors import ClockError, HffmError
from node.log import NodeLog, encode
from node.plan import Plan, Role
from node.roles.aggregator import Aggregator
from node.roles.journal import Journal
from node.roles.member import Member
from node.roles.neighbour import Neighbour
from node.roles.root import Root
from node.roles.services import exchange, parent_services, serve
from node.roles.traffic import Reshape, by_nobody
from node.wire.book import EventBook
from node.wire.circulating import change_of
from node.wire.control import ControlService
from node.wire.family import Command, Family
from node.wire.parent import ParentSession
from node.wire.tls import Tls

if TYPE_CHECKING:
    from node.roles.device import Device

_OLDEST, _NEWEST = 2025, 2100  # years that a clock can be right about
_GOODBYE_S = 5.0  # to hand the last words on, and for calls in progress to end


async def live(
    plan: Plan,
    node_id: str,
    log: NodeLog,
    reshape: Reshape = by_nobody,
    tls: Tls | None = None,
    state: Path | None = None,
) -> None:
    """Until the run ends. Raises the HffmError that ended this node before its time.

    `state`: the folder of its journal, from which it goes on in its next life.
    """
    node = plan.node(node_id)
    _check_clock()
    journal = await asyncio.to_thread(Journal, state, plan, node_id, log) if state is not None else None
    try:
        if node.parent is None:
            await _live_as_root(plan, node_id, log, reshape, tls, journal)
        elif node.role is Role.DEVICE:
            await _live_as_device(plan, node_id, log, reshape, tls, journal)
        else:
            await _live_as_edge(plan, node_id, log, reshape, tls, journal)
    finally:
        if journal is not None:
            journal.close()


async def _live_as_root(
    plan: Plan, node_id: str, log: NodeLog, reshape: Reshape, tls: Tls | None, journal: Journal | None
) -> None:
    events = EventBook(journal.folder / "events.jsonl" if journal is not None else None)
    log.add_sink(lambda event: events.add(encode(event)))
    family = Family(plan, node_id, log)
    node = Aggregator(plan, node_id, log, family, tls)
    node.traffic.reshape = reshape
    _resume(node, journal)
    root = Root(node, events)
    services = parent_services(node, lambda event, child, number: events.add(event))
    services["Control"] = lambda server: add_ControlServicer_to_server(ControlService(root), server)
    server = await serve(plan, node_id, services, tls, log)
    _say_joined(plan, node_id, log, tls)
    failed = False
    try:
        await _first(root.run(), family.watch(), root.keep_events(), root.stopped.wait())
    except HffmError as error:
        log.emit("failed", error=type(error).__name__, message=str(error), exit_code=error.exit_code)
        failed = True
        raise
    finally:
        if not failed:  # it may come back, for which its children wait as long as their lease
            await family.stop(root.stop_reason or "the root ended")
        log.emit("left", reason=root.stop_reason)
        events.close()
        await server.stop(_GOODBYE_S)
        await node.traffic.channels.close()


async def _live_as_edge(
    plan: Plan, node_id: str, log: NodeLog, reshape: Reshape, tls: Tls | None, journal: Journal | None
) -> None:
    family = Family(plan, node_id, log)
    node = Aggregator(plan, node_id, log, family, tls)
    node.traffic.reshape = reshape
    session = ParentSession(plan, node_id, node.traffic.channels, log, node.statuses)
    session.events.on_kept = family.events_kept
    node.traffic.on_heard(session.hear_moved)
    log.add_sink(session.events.hear)
    _resume(node, journal, session)

    async def ready() -> dict[str, int]:
        await family.all_ready()
        node.phase = "ready"
        return family.samples()

    server = await serve(plan, node_id, parent_services(node, session.events.relay), tls, log)
    _say_joined(plan, node_id, log, tls)
    try:
        await _take_part(node, session, log, ready(), family)
    finally:
        await server.stop(_GOODBYE_S if session.stopped.is_set() else 0.0)
        await node.traffic.channels.close()


async def _live_as_device(
    plan: Plan, node_id: str, log: NodeLog, reshape: Reshape, tls: Tls | None, journal: Journal | None
) -> None:
    from node.roles.device import Device  # imports torch, which the other roles do not need

    node = Device(plan, node_id, log, tls)
    node.traffic.reshape = reshape
    session = ParentSession(plan, node_id, node.traffic.channels, log, node.statuses)
    node.traffic.on_heard(session.hear_moved)
    log.add_sink(session.events.hear)
    _resume(node, journal, session)
    server = None
    if (exchanges := node.exchanges) is not None:
        session.on_regroup, exchanges.say_trouble = exchanges.regroup, session.trouble
        session.attempt = exchanges.attempt
        services = {"Exchange": exchange(node, Neighbour(node, exchanges), on_wrong=exchanges.avoid)}
        server = await serve(plan, node_id, services, tls, log)
    _say_joined(plan, node_id, log, tls)
    try:
        await _take_part(node, session, log, node.load(), None)
    finally:
        if server is not None:
            await server.stop(_GOODBYE_S)
        await node.traffic.channels.close()


async def _take_part(
    node: Aggregator | Device,
    session: ParentSession,
    log: NodeLog,
    ready: Awaitable[dict[str, int]],
    family: Family | None,
) -> None:
    """Obeys until told to stop; says what went wrong, below and above, before it ends."""
    talking = asyncio.ensure_future(session.run())
    reason = "the parent said stop"
    try:
        duties = [_obey_all(node, session, ready), session.stopped.wait(), _until(talking)]
        await _first(*duties, *([family.watch()] if family else []))
    except HffmError as error:
        reason = f"{type(error).__name__}: {error}"
        session.failed(error)
        raise
    except asyncio.CancelledError:
        reason = "it was told to end"
        raise
    finally:
        # Where the run is not over, somebody may start this node again: its children wait as long as their lease.
        if family is not None and session.stopped.is_set():
            await family.stop(reason)
        log.emit("left", reason=reason)
        await session.flushed(_GOODBYE_S if not talking.done() else 0.0)
        talking.cancel()
        await asyncio.wait({talking})


async def _obey_all(
    node: Aggregator | Device, session: ParentSession, ready: Awaitable[dict[str, int]]
) -> None:
    samples = await ready
    node.log.emit("ready", samples=samples)
    session.ready(samples)
    async for order in session.orders:
        await _obey(node, order.command)
        session.done(order)


async def _obey(node: Aggregator | Device, command: Command) -> None:
    if isinstance(command, pb.Run):
        if command.HasField("circulation"):
            node.circulation.follow(change_of(command.circulation))
        node.circulation.tell(command.first_round + command.count)
        await node.run(command.first_round, command.count)
    elif isinstance(command, pb.Install):
        await node.install(command.round, list(command.versions))
    else:
        await node.hand_up(await node.collect(command.round))


def _resume(node: Member, journal: Journal | None, session: ParentSession | None = None) -> None:
    node.journal = journal
    progress = node.resume()
    if session is not None:
        for event in progress.events if progress is not None else ():
            session.events.relay(event)
        node.unkept_events = session.events.own
        session.finished = lambda: node.finished


def _check_clock() -> None:
    """Raises ClockError: boards without a battery begin in 1970."""
    now = datetime.fromtimestamp(time.time(), UTC)
    if not _OLDEST <= now.year <= _NEWEST:
        raise ClockError(
            f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC: set it (`timedatectl set-ntp true`): "
            "times in the record would be wrong, and certificates are refused"
        )


def _say_joined(plan: Plan, node_id: str, log: NodeLog, tls: Tls | None) -> None:
    node = plan.node(node_id)
    log.emit(
        "joined",
        role=node.role,
        parent=node.parent,
        pid=os.getpid(),
        host=socket.gethostname(),
        version=__version__,
        tls=tls is not None,
    )


async def _until(task: asyncio.Future[None]) -> None:
    """Waits without ending the task."""
    await asyncio.shield(task)


async def _first(*duties: Coroutine[Any, Any, Any]) -> None:
    """Runs all until one has ended, ends the others, and raises what that one raised."""
    tasks = [asyncio.ensure_future(duty) for duty in duties]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
