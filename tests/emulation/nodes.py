"""A cloud and two edge servers without devices: real nodes that have nothing to train."""

from __future__ import annotations

import asyncio

from deploy.links.addressing import place_in_block
from deploy.links.leftovers import taken_blocks
from node.plan import Limits, Link, LinkKind, Plan
from node.wire.operator import Operator
from tests.federation import make_plan, module

PATIENCE_S = 120.0
# A busy machine may hold up whole processes; no test waits for one of these.
_LIMITS = Limits(heartbeat_s=1.0, lease_s=30.0, connect_s=90.0, join_s=90.0)


def three_nodes(links: str = "paced") -> Plan:
    parents = {"cloud": None, "edge-0": "cloud", "edge-1": "cloud"}
    tiers = {"cloud": "cloud", "edge-0": "edge", "edge-1": "edge"}
    both = [(a, b) for edge in ("edge-0", "edge-1") for a, b in ((edge, "cloud"), ("cloud", edge))]
    found = tuple(Link(src=a, dst=b, kind=LinkKind.BACKHAUL, rate_bps=40e6, delay_s=0.02) for a, b in both)
    modules = (module(edge=1, cloud=1),)
    return make_plan(parents, tiers, modules, found, links_backend=links, limits=_LIMITS)


def in_block(plan: Plan) -> Plan:
    """The same, each node with an address of its own."""
    return place_in_block(plan, taken_blocks())


def wait_until_ready(plan: Plan) -> None:
    """Asks the root, as an operator would."""
    asyncio.run(_until_ready(plan))


async def _until_ready(plan: Plan) -> None:
    operator = Operator(plan.root.id, plan.root.address or "")
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if await operator.is_up() and (await operator.status()).state == "ready":
                    return
                await asyncio.sleep(0.05)
    finally:
        await operator.close()
