"""Real processes killed in the middle of a transfer: the round goes on without them, and nobody counts twice."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import numpy as np
import pytest
from hffm.v1 import control_pb2 as pb

from node.model.schema import initial_module
from node.plan import Limits, Link, LinkKind, Plan, Relay, Turn
from node.routing import orient
from orchestrator.cost.gossip import gossip_over
from tests.federation import Federation, module
from tests.processes import in_processes
from tests.roles.clusters import cluster_plan, graph
from tests.roles.test_rounds import average

PATIENT = Limits(
    heartbeat_s=0.1, lease_s=2.0, connect_s=20.0, join_s=30.0, round_s=30.0, stall_s=10.0, quorum=0.7
)


FAST_LINK = {("d2", "d1"): 80e6}  # of 4 Mbit/s, so that what it carried is on its way for another second


def ring(relay: Relay, rounds_apart: int = 1, **more: Any) -> Plan:
    """Four devices; the tree is d2 > d1 > d0 < d3, and d2 - d3 closes the ring. 1 s per payload and link."""
    modules = (module("adapter", 125_000, cluster=1, edge=rounds_apart, cloud=rounds_apart),)
    return cluster_plan(
        graph("ring", 4), relay, modules=modules, rate_bps=4e6, rates_bps=FAST_LINK, limits=PATIENT, **more
    )


async def said(running: Federation, kind: str, **what: Any) -> dict[str, Any]:
    """Waits for an event of this kind with these fields."""
    async with asyncio.timeout(20):
        while True:
            found = (e for e in running.kind(kind) if all(e.get(k) == v for k, v in what.items()))
            if (event := next(found, None)) is not None:
                return event
            await asyncio.sleep(0.01)


async def _without(
    running: Federation, pids: dict[str, int], victim: str, rounds: tuple[int, ...] = (1,)
) -> dict[str, Any]:
    """Kills one when d2 has sent to d1, which is sending to d0."""
    await running.until("ready")
    for i, count in enumerate(rounds):
        await running.control.StartRounds(pb.StartRoundsRequest(count=count))
        if i == 0:
            await said(running, "transfer", src="d2", dst="d1")
            os.kill(pids[victim], signal.SIGKILL)
        await running.until("ready")
    return {"events": running.events, "modules": await running.modules()}


async def without_relay(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    return await _without(running, pids, "d1")


async def without_head(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    return await _without(running, pids, "d0")


async def without_head_for_six_rounds(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    return await _without(running, pids, "d0", rounds=(3, 3))


async def relay_dies_between_rounds(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    await running.rounds(1)
    os.kill(pids["d1"], signal.SIGKILL)
    await running.rounds(1)
    return {"events": running.events, "modules": await running.modules()}


async def head_dies_on_its_uplink(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    """Some heartbeats after it has made the sum: the edge server has its first module, and not the second."""
    await running.until("ready")
    await running.control.StartRounds(pb.StartRoundsRequest(count=1))
    made = await said(running, "aggregated", node="d0", module="head/t")
    async with asyncio.timeout(20):
        while True:
            nodes = (await running.control.Status(pb.StatusRequest())).nodes
            if any(n.node == "d0" and n.last_heartbeat_unix_s > made["t"] + 0.5 for n in nodes):
                break
            await asyncio.sleep(0.05)
    os.kill(pids["d0"], signal.SIGKILL)
    await running.until("ready")
    return {"events": running.events, "modules": await running.modules()}


def check(plan: Plan, found: dict[str, Any], survivors: list[str]) -> dict[str, Any]:
    """The cloud has the average of those who are left, each once; what the parent said when it regrouped."""
    start = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    expected = average(start, survivors, 0)["adapter"]
    np.testing.assert_allclose(found["modules"]["cloud", "adapter"], expected, rtol=0, atol=2e-7)
    events = found["events"]
    told = [e for e in events if e["kind"] == "aggregated" and e["tier"] == "edge"]
    assert [e["contributors"] for e in told] == [survivors]
    regrouped = [e for e in events if e["kind"] == "regrouped"]
    assert regrouped, "the edge server did not notice"
    made = [e for e in events if e["kind"] == "aggregated" and e["tier"] == "cluster" and e["round"] == 0]
    assert len([e for e in made if e["attempt"] == max(e["attempt"] for e in made)]) == 1
    return regrouped[-1]


@pytest.mark.parametrize("relay", [Relay.CUT_THROUGH, Relay.AGGREGATE])
def test_a_relay_killed_in_mid_transfer_is_gone_around(relay):
    plan = ring(relay)
    said = check(plan, in_processes(plan, without_relay), ["d0", "d2", "d3"])
    assert (said["head"], said["edges"]) == ("d0", [["d2", "d3"], ["d3", "d0"]])


@pytest.mark.parametrize("relay", [Relay.STORE_AND_FORWARD, Relay.AGGREGATE])
def test_a_head_killed_in_mid_transfer_is_replaced(relay):
    plan = ring(relay)
    said = check(plan, in_processes(plan, without_head), ["d1", "d2", "d3"])
    assert said["head"] == "d2"


def test_devices_that_are_cut_off_take_the_uplink():
    """A line without its second device: the head is alone, the other two elect one of them."""
    modules = (module("adapter", 125_000, cluster=1, edge=1, cloud=1),)
    plan = cluster_plan(
        graph("line", 4), Relay.AGGREGATE, modules=modules, rate_bps=4e6, rates_bps=FAST_LINK, limits=PATIENT
    )
    found = in_processes(plan, without_relay)
    said = check(plan, found, ["d0", "d2", "d3"])
    assert (said["head"], said["uplink"]) == ("d2", ["d0"])
    warnings = [e["message"] for e in found["events"] if e["kind"] == "warning" and e["node"] == "d0"]
    assert any("takes the uplink" in message for message in warnings)


def test_heads_go_on_taking_turns_among_those_who_are_left():
    """One per round; the turns of the head that was killed in the first fall to one after the other."""
    heads = ("d0", "d1", "d2", "d3")
    turns = tuple(
        Turn(first_round=i, head=head, edges=tuple(sorted(orient(graph("ring", 4), head).items())))
        for i, head in enumerate(heads)
    )
    plan = ring(Relay.AGGREGATE, cluster={"turns": turns, "repeats_after": 4})
    events = in_processes(plan, without_head_for_six_rounds)["events"]
    told = [e for e in events if e["kind"] == "aggregated" and e["tier"] == "cluster" and e["attempt"] > 0]
    assert [(e["round"], e["node"]) for e in told] == [
        (0, "d1"), (1, "d1"), (2, "d2"), (3, "d3"), (4, "d2"), (5, "d1")
    ]  # fmt: skip
    edge = [e for e in events if e["kind"] == "aggregated" and e["tier"] == "edge"]
    assert [e["contributors"] for e in edge] == [["d1", "d2", "d3"]] * 6


def test_a_relay_that_dies_between_rounds_is_gone_around_from_the_next_on():
    plan = ring(Relay.CUT_THROUGH)
    events = in_processes(plan, relay_dies_between_rounds)["events"]
    edge = [e["contributors"] for e in events if e["kind"] == "aggregated" and e["tier"] == "edge"]
    assert edge == [["d0", "d1", "d2", "d3"], ["d0", "d2", "d3"]]
    assert [e["round"] for e in events if e["kind"] == "regrouped"] == [1]


def test_what_a_head_had_delivered_before_it_died_counts_once():
    """Its first module had come, its second is padded to four seconds: both are sent again by another head."""
    periods = {"cluster": 1, "edge": 1, "cloud": 1}
    modules = (module("adapter", 1000, **periods), module("head/t", 1000, **periods))
    uplinks = tuple(
        Link(src=f"d{i}", dst="e0", kind=LinkKind.UPLINK, rate_bps=1e6, power_w=1) for i in range(4)
    )
    plan = cluster_plan(
        graph("ring", 4),
        Relay.AGGREGATE,
        modules=modules,
        rate_bps=80e6,
        limits=PATIENT,
        payload_bytes=500_000,
    )
    plan = plan.replace(links=(*plan.links, *uplinks))
    found = in_processes(plan, head_dies_on_its_uplink)
    made = [e for e in found["events"] if e["kind"] == "aggregated" and e["tier"] == "edge"]
    edge = {e["module"]: e["contributors"] for e in made}
    assert edge == {"adapter": ["d0", "d1", "d2", "d3"], "head/t": ["d1", "d2", "d3"]}
    warnings = [e["message"] for e in found["events"] if e["kind"] == "warning" and e["node"] == "e0"]
    assert any("counts once" in message for message in warnings)


def test_a_consensus_goes_on_without_a_member():
    """Over a line in the place of a ring, which needs more iterations for the same tolerance."""
    edges = graph("ring", 4)
    gossip = gossip_over(sorted({(min(e), max(e)) for e in edges}), None, 0.001)
    modules = (module("adapter", 50_000, cluster=1, edge=1, cloud=1),)
    told = {"gossip": gossip}
    plan = cluster_plan(edges, Relay.AGGREGATE, modules=modules, cluster=told, limits=PATIENT)
    found = in_processes(plan, without_relay)
    said = [e for e in found["events"] if e["kind"] == "consensus" and e["node"] == "d3"]
    steps = [(e["step"], e["iterations"]) for e in said]
    assert (0, gossip.iterations) in steps
    assert steps[-1][0] + 1 == steps[-1][1] > gossip.iterations
    start = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    expected = average(start, ["d0", "d2", "d3"], 0)["adapter"]
    np.testing.assert_allclose(found["modules"]["cloud", "adapter"], expected, rtol=0, atol=1e-3)
