"""The life of one node: join, be ready, obey, leave."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any

from hffm.v1 import membership_pb2 as pb
from hffm.v1.control_pb2_grpc import add_ControlServicer_to_server
from hffm.v1.exchange_pb2_grpc import add_ExchangeServicer_to_server
from hffm.v1.membership_pb2_grpc import add_MembershipServicer_to_server

from node import __version__
from node.errors import HffmError, PlanError
from node.log import NodeLog, encode
from node.plan import Plan, Role
from node.roles.aggregator import Aggregator
from node.roles.member import Member
from node.roles.root import Root
from node.wire.control import ControlService, EventBook
from node.wire.exchange import ExchangeService
from node.wire.family import Command, Family
from node.wire.intake import Receiver
from node.wire.parent import ParentSession
from node.wire.server import AddService, Services, serve

if TYPE_CHECKING:
    from node.roles.device import Device

_GOODBYE_S = 5.0  # to hand the last words on, and for calls in progress to end


async def live(plan: Plan, node_id: str, log: NodeLog) -> None:
    """Until the run ends. Raises the HffmError that ended this node before its time."""
    node = plan.node(node_id)
    if node.parent is None:
        await _live_as_root(plan, node_id, log)
    elif node.role is Role.DEVICE:
        await _live_as_device(plan, node_id, log)
    else:
        await _live_as_edge(plan, node_id, log)


async def _live_as_root(plan: Plan, node_id: str, log: NodeLog) -> None:
    events = EventBook()
    log.add_sink(lambda event: events.add(encode(event)))
    family = Family(plan, node_id, log, events.add)
    node = Aggregator(plan, node_id, log, family)
    root = Root(node, events)
    services = _parent_services(node, family)
    services["Control"] = lambda server: add_ControlServicer_to_server(ControlService(root), server)
    server = await serve(_address(plan, node_id), services)
    _say_joined(plan, node_id, log)
    try:
        await _first(root.run(), family.watch(), root.stopped.wait())
    finally:
        await family.stop(root.stop_reason or "the root ended")
        log.emit("left", reason=root.stop_reason)
        events.close()
        await server.stop(_GOODBYE_S)
        await node.channels.close()


async def _live_as_edge(plan: Plan, node_id: str, log: NodeLog) -> None:
    family = Family(plan, node_id, log, lambda event: session.relay_event(event))
    node = Aggregator(plan, node_id, log, family)
    session = ParentSession(plan, node_id, node.channels, log, node.statuses)
    log.add_sink(session.hear_event)

    async def ready() -> dict[str, int]:
        await family.all_ready()
        node.phase = "ready"
        return family.samples()

    server = await serve(_address(plan, node_id), _parent_services(node, family))
    _say_joined(plan, node_id, log)
    try:
        await _take_part(node, session, log, ready(), family)
    finally:
        await server.stop(_GOODBYE_S)
        await node.channels.close()


async def _live_as_device(plan: Plan, node_id: str, log: NodeLog) -> None:
    from node.roles.device import Device  # imports torch, which the other roles do not need

    node = Device(plan, node_id, log)
    session = ParentSession(plan, node_id, node.channels, log, node.statuses)
    log.add_sink(session.hear_event)
    server = None
    if node.neighbour is not None:
        session.on_regroup, node.neighbour.say_trouble = node.neighbour.regroup, session.trouble
        server = await serve(_address(plan, node_id), {"Exchange": _exchange(node, node.neighbour)})
    _say_joined(plan, node_id, log)
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
        if family is not None:
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
    async for number, command in session.commands():
        await _obey(node, command)
        session.done(number)


async def _obey(node: Aggregator | Device, command: Command) -> None:
    if isinstance(command, pb.Run):
        await node.run(command.first_round, command.count)
    elif isinstance(command, pb.Install):
        await node.install(command.round, list(command.versions))
    else:
        await node.push(node.node.parent or "", await node.collect(command.round))


def _parent_services(node: Aggregator, family: Family) -> Services:
    return {
        "Exchange": _exchange(node, node),
        "Membership": lambda server: add_MembershipServicer_to_server(family, server),
    }


def _exchange(node: Member, receiver: Receiver) -> AddService:
    service = ExchangeService(node.plan.run_id, receiver, node.pacers, node.plan.limits.stall_s)
    return lambda server: add_ExchangeServicer_to_server(service, server)


def _address(plan: Plan, node_id: str) -> str:
    address = plan.node(node_id).address
    if address is None:
        raise PlanError(
            f"node '{node_id}' must listen and has no address: write the plan anew with `hffm plan`"
        )
    return address


def _say_joined(plan: Plan, node_id: str, log: NodeLog) -> None:
    node = plan.node(node_id)
    log.emit(
        "joined",
        role=node.role,
        parent=node.parent,
        pid=os.getpid(),
        host=socket.gethostname(),
        version=__version__,
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
