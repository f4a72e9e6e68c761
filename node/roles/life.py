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
from hffm.v1.membership_pb2_grpc import add_MembershipServicer_to_server

from node import __version__
from node.errors import ClockError, HffmError, PlanError
from node.log import NodeLog, encode
from node.plan import Plan, Role
from node.roles.admission import inflight_bytes
from node.roles.aggregator import Aggregator
from node.roles.journal import Journal
from node.roles.member import Member, Reshape, by_nobody
from node.roles.root import Root
from node.wire.book import EventBook
from node.wire.budget import Budget
from node.wire.circulating import change_of
from node.wire.codec import add_exchange
from node.wire.control import ControlService
from node.wire.door import Door
from node.wire.exchange import ExchangeService
from node.wire.family import Command, Family
from node.wire.intake import Receiver
from node.wire.parent import ParentSession
from node.wire.refusals import Refusals
from node.wire.server import AddService, Services, serve
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
    family = Family(plan, node_id, log, lambda event, child, number: events.add(event))
    node = Aggregator(plan, node_id, log, family, tls)
    node.reshape = reshape
    _resume(node, journal)
    root = Root(node, events)
    services = _parent_services(node, family)
    services["Control"] = lambda server: add_ControlServicer_to_server(ControlService(root), server)
    server = await _serve(plan, node_id, services, tls, log)
    _say_joined(plan, node_id, log, tls)
    try:
        await _first(root.run(), family.watch(), root.keep_events(), root.stopped.wait())
    finally:
        await family.stop(root.stop_reason or "the root ended")
        log.emit("left", reason=root.stop_reason)
        events.close()
        await server.stop(_GOODBYE_S)
        await node.channels.close()


async def _live_as_edge(
    plan: Plan, node_id: str, log: NodeLog, reshape: Reshape, tls: Tls | None, journal: Journal | None
) -> None:
    family = Family(plan, node_id, log, lambda *event: session.relay_event(*event))
    node = Aggregator(plan, node_id, log, family, tls)
    node.reshape = reshape
    session = ParentSession(plan, node_id, node.channels, log, node.statuses)
    session.on_kept = family.events_kept
    log.add_sink(session.hear_event)
    _resume(node, journal, session)

    async def ready() -> dict[str, int]:
        await family.all_ready()
        node.phase = "ready"
        return family.samples()

    server = await _serve(plan, node_id, _parent_services(node, family), tls, log)
    _say_joined(plan, node_id, log, tls)
    try:
        await _take_part(node, session, log, ready(), family)
    finally:
        await server.stop(_GOODBYE_S)
        await node.channels.close()


async def _live_as_device(
    plan: Plan, node_id: str, log: NodeLog, reshape: Reshape, tls: Tls | None, journal: Journal | None
) -> None:
    from node.roles.device import Device  # imports torch, which the other roles do not need

    node = Device(plan, node_id, log, tls)
    node.reshape = reshape
    session = ParentSession(plan, node_id, node.channels, log, node.statuses)
    log.add_sink(session.hear_event)
    _resume(node, journal, session)
    server = None
    if node.neighbour is not None:
        session.on_regroup, node.neighbour.say_trouble = node.neighbour.regroup, session.trouble
        session.attempt = node.neighbour.attempt
        server = await _serve(plan, node_id, {"Exchange": _exchange(node, node.neighbour)}, tls, log)
    _say_joined(plan, node_id, log, tls)
    try:
        await _take_part(node, session, log, node.load(), None)
    finally:
        if server is not None:
            await server.stop(_GOODBYE_S)
        await node.channels.close()


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
    comes_back = False  # perhaps: the children wait for it as long as their lease
    try:
        duties = [_obey_all(node, session, ready), session.stopped.wait(), _until(talking)]
        await _first(*duties, *([family.watch()] if family else []))
    except HffmError as error:
        reason = f"{type(error).__name__}: {error}"
        comes_back = node.journal is not None
        session.failed(error)
        raise
    except asyncio.CancelledError:
        reason = "it was told to end"
        raise
    finally:
        if family is not None and not comes_back:
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
    async for order in session.orders():
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
        await node.push(node.node.parent or "", await node.collect(command.round))


def _resume(node: Member, journal: Journal | None, session: ParentSession | None = None) -> None:
    node.journal = journal
    progress = node.resume()
    if session is not None:
        for event in progress.events if progress is not None else ():
            session.relay_event(event)
        node.unkept_events = session.own_events
        session.finished = lambda: node.finished


def _check_clock() -> None:
    """Raises ClockError: boards without a battery begin in 1970."""
    now = datetime.fromtimestamp(time.time(), UTC)
    if not _OLDEST <= now.year <= _NEWEST:
        raise ClockError(
            f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC: set it (`timedatectl set-ntp true`): "
            "times in the record would be wrong, and certificates are refused"
        )


def _parent_services(node: Aggregator, family: Family) -> Services:
    return {
        "Exchange": _exchange(node, node),
        "Membership": lambda server: add_MembershipServicer_to_server(family, server),
    }


def _exchange(node: Member, receiver: Receiver) -> AddService:
    plan = node.plan
    refusals = Refusals(node.log, plan.by_id, plan.limits.refusals)
    refusals.on_excluded = receiver.exclude
    budget = Budget(inflight_bytes(plan, node.node.id))
    service = ExchangeService(plan.run_id, receiver, node.pacers, plan.limits.stall_s, budget, refusals)
    return lambda server: add_exchange(service, server)


async def _serve(plan: Plan, node_id: str, services: Services, tls: Tls | None, log: NodeLog) -> Any:
    door = Door(plan, node_id, tls, Refusals(log, plan.by_id, plan.limits.refusals))
    return await serve(_address(plan, node_id), services, door)


def _address(plan: Plan, node_id: str) -> str:
    address = plan.node(node_id).address
    if address is None:
        raise PlanError(
            f"node '{node_id}' must listen and has no address: write the plan anew with `hffm plan`"
        )
    return address


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
