"""What a node serves, and behind which door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hffm.v1.membership_pb2_grpc import add_MembershipServicer_to_server

from node.errors import PlanError
from node.log import NodeLog
from node.plan import Plan
from node.roles.admission import inflight_bytes
from node.roles.aggregator import Aggregator
from node.roles.member import Member
from node.wire import server
from node.wire.budget import Budget
from node.wire.codec import add_exchange
from node.wire.door import Door
from node.wire.exchange import ExchangeService
from node.wire.intake import Receiver
from node.wire.membership import MembershipService, RelayEvent
from node.wire.refusals import Refusals
from node.wire.server import AddService, Services
from node.wire.tls import Tls


def parent_services(node: Aggregator, relay_event: RelayEvent) -> Services:
    """What every parent serves."""
    membership = MembershipService(node.plan, node.node.id, node.log, node.family, relay_event)
    return {
        "Exchange": exchange(node, node.submissions, node.family.hear_moved),
        "Membership": lambda server: add_MembershipServicer_to_server(membership, server),
    }


def exchange(
    node: Member,
    receiver: Receiver,
    on_moved: Callable[[str], None] = lambda peer: None,
    on_wrong: Callable[[str, str], None] = lambda peer, why: None,
) -> AddService:
    """Payloads in, for this receiver; versions out.

    `on_moved`: told of each peer with which something moves. `on_wrong`: of each whose payload was wrong, and why.
    """
    plan = node.plan
    refusals = Refusals(node.log, plan.by_id, plan.limits.refusals)
    refusals.on_excluded, refusals.on_wrong = receiver.exclude, on_wrong
    budget = Budget(inflight_bytes(plan, node.node.id))
    service = ExchangeService(
        plan.run_id, receiver, node.traffic.pacers, plan.limits.stall_s, budget, refusals
    )
    service.on_moved = on_moved
    return lambda server: add_exchange(service, server)


async def serve(plan: Plan, node_id: str, services: Services, tls: Tls | None, log: NodeLog) -> Any:
    """Starts listening. Raises AddressError, or PlanError where the plan gives this node no address."""
    door = Door(plan, node_id, tls, Refusals(log, plan.by_id, plan.limits.refusals))
    return await server.serve(_address(plan, node_id), services, door)


def _address(plan: Plan, node_id: str) -> str:
    address = plan.node(node_id).address
    if address is None:
        raise PlanError(
            f"node '{node_id}' must listen and has no address: write the plan anew with `hffm plan`"
        )
    return address
