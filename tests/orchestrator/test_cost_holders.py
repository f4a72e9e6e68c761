"""What is priced is what travels: in the precision of the module, and where somebody holds it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from node.plan import Link, LinkKind, Plan, Precision, Relay
from orchestrator.cost.pricing import price
from tests.federation import make_plan, module
from tests.roles.clusters import cluster_plan

MB_PER_S = 8e6  # bit/s
ADAPTER, HEAD = module("adapter", 250_000, edge=1, cloud=1), module("head/t", 25_000, edge=1, cloud=1)


def holding(plan: Plan, lacking: Mapping[str, str]) -> Plan:
    """`lacking`: device -> the module that it does not hold."""
    nodes = [
        n.model_copy(update={"modules": tuple(m.name for m in plan.modules if m.name != lacking[n.id])})
        if n.id in lacking
        else n
        for n in plan.nodes
    ]
    return plan.replace(nodes=tuple(nodes))


def tree() -> Plan:
    """Two devices with uplinks of 1 and 0.1 MB/s; 10 MB/s on from the edge server; nothing is modelled down."""
    links = (
        Link(src="d0", dst="e0", kind=LinkKind.UPLINK, rate_bps=MB_PER_S, power_w=1),
        Link(src="d1", dst="e0", kind=LinkKind.UPLINK, rate_bps=MB_PER_S / 10, power_w=1),
        Link(src="e0", dst="cloud", kind=LinkKind.BACKHAUL, rate_bps=10 * MB_PER_S, power_w=1),
    )
    parents = {"cloud": None, "e0": "cloud", "d0": "e0", "d1": "e0"}
    return make_plan(parents, {"cloud": "cloud", "e0": "edge"}, (ADAPTER, HEAD), links)


@pytest.mark.parametrize(
    ("lacking", "latency_s", "energy_j"),
    [
        ({}, 11 + 0.11, 1.1 + 11 + 0.11),
        ({"d1": "adapter"}, 1.1 + 0.11, 1.1 + 1 + 0.11),
        ({"d0": "head/t", "d1": "head/t"}, 10 + 0.1, 1 + 10 + 0.1),
    ],
)
def test_a_device_is_priced_for_what_it_holds(
    lacking: dict[str, str], latency_s: float, energy_j: float
) -> None:
    cost = price(holding(tree(), lacking))
    assert (cost.latency_s, cost.energy_j) == pytest.approx((latency_s, energy_j))


@pytest.mark.parametrize(("precision", "part"), [(Precision.BF16, 1 / 2), (Precision.INT8, 1 / 4)])
def test_fewer_bytes_cost_less(precision: Precision, part: float) -> None:
    plan = tree()
    less = plan.replace(modules=tuple(m.model_copy(update={"precision": precision}) for m in plan.modules))
    for padded in (None, 6_000_000):
        whole, found = (price(p.replace(payload_bytes=padded)) for p in (plan, less))
        assert found.latency_s == pytest.approx(part * whole.latency_s, rel=1e-4)  # scales: 8 bytes a module
        assert found.energy_j == pytest.approx(part * whole.energy_j, rel=1e-4)


@pytest.mark.parametrize(
    ("relay", "lacks", "latency_s", "megabytes"),
    [
        (Relay.STORE_AND_FORWARD, None, 2 + 2, 3 + 2),
        (Relay.STORE_AND_FORWARD, "d1", 2 + 2, 2 + 2),  # it passes on what it does not hold
        (Relay.STORE_AND_FORWARD, "d2", 1 + 1, 1 + 1),
        (Relay.STORE_AND_FORWARD, "d0", 2 + 2, 3 + 2),
        (Relay.CUT_THROUGH, None, 2 + 1, 3 + 2),
        (Relay.CUT_THROUGH, "d1", 1 + 1, 2 + 2),
        (Relay.AGGREGATE, "d1", 1 + 1, 2 + 2),
        (Relay.AGGREGATE, "d2", 1 + 1, 1 + 1),
    ],
)
def test_a_relay_is_priced_for_what_passes_through(
    relay: Relay, lacks: str | None, latency_s: float, megabytes: float
) -> None:
    """d0 is the head; each link carries 1 MB/s for 0.5 W; beside the adapter there is what nobody waits for."""
    modules = (module("adapter", 250_000, cluster=1), module("other", 2, cluster=1))
    plan = cluster_plan([("d0", "d1"), ("d1", "d2")], relay, modules=modules, rate_bps=MB_PER_S)
    plan = plan.replace(links=tuple(k.model_copy(update={"power_w": 0.5}) for k in plan.links) + UPLINK)
    cost = price(plan if lacks is None else holding(plan, {lacks: "adapter"}))
    assert cost.latency_s == pytest.approx(latency_s, abs=0.14)  # a chunk of 64 KiB on each hop
    assert cost.energy_j == pytest.approx(0.5 * megabytes, rel=1e-3)


UPLINK = (
    *(Link(src=f"d{i}", dst="e0", kind=LinkKind.UPLINK, rate_bps=MB_PER_S) for i in range(3)),
    Link(src="e0", dst="cloud", kind=LinkKind.BACKHAUL, rate_bps=MB_PER_S),
)
