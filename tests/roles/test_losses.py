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
from node.plan import Limits, Plan, Relay
from tests.federation import Federation, module
from tests.processes import in_processes
from tests.roles.clusters import cluster_plan, graph
from tests.roles.test_rounds import average

PATIENT = Limits(
    heartbeat_s=0.1, lease_s=2.0, connect_s=20.0, join_s=30.0, round_s=30.0, stall_s=10.0, quorum=0.7
)


def ring(relay: Relay, rounds_apart: int = 1) -> Plan:
    """Four devices; the tree is d2 > d1 > d0 < d3, and d2 - d3 closes the ring. 1 s per payload and link."""
    modules = (module("adapter", 125_000, cluster=1, edge=rounds_apart, cloud=rounds_apart),)
    return cluster_plan(graph("ring", 4), relay, modules=modules, rate_bps=4e6, limits=PATIENT)


async def sending(running: Federation, node: str) -> None:
    """Waits until a node is in the middle of its exchange, which takes ten times as long as a heartbeat."""
    async with asyncio.timeout(20):
        while True:
            phases = {s.node: s.phase for s in (await running.control.Status(pb.StatusRequest())).nodes}
            if phases.get(node) == "sending":
                return
            await asyncio.sleep(0.05)


async def _without(running: Federation, pids: dict[str, int], victim: str) -> dict[str, Any]:
    await running.until("ready")
    await running.control.StartRounds(pb.StartRoundsRequest(count=1))
    await sending(running, victim)
    os.kill(pids[victim], signal.SIGKILL)
    await running.until("ready")
    return {"events": running.events, "modules": await running.modules()}


async def without_relay(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    return await _without(running, pids, "d1")


async def without_head(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    return await _without(running, pids, "d0")


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
    plan = cluster_plan(graph("line", 4), Relay.AGGREGATE, modules=modules, rate_bps=4e6, limits=PATIENT)
    found = in_processes(plan, without_relay)
    said = check(plan, found, ["d0", "d2", "d3"])
    assert (said["head"], said["uplink"]) == ("d2", ["d0"])
    warnings = [e["message"] for e in found["events"] if e["kind"] == "warning" and e["node"] == "d0"]
    assert any("takes the uplink" in message for message in warnings)
