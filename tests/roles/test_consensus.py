"""Averaging without a head, and heads that take turns."""

from __future__ import annotations

import asyncio
from itertools import combinations

import numpy as np
import pytest

from node.plan import Link, LinkKind, Move, Plan, Relay, Turn
from node.routing import orient
from orchestrator.cost.gossip import gossip_over
from tests.federation import Federation, federation, module
from tests.roles.clusters import cluster_plan, graph
from tests.roles.test_relays import check_average, played
from tests.roles.test_rounds import average, initial_module


def consensus_plan(edges: list, iterations: int | None, tolerance: float = 1e-3, **periods: int) -> Plan:
    gossip = gossip_over(edges, iterations, tolerance)
    modules = (
        module("adapter", 3000, **(periods or {"cluster": 1})),
        module("head/t", 300, task="t", **(periods or {"cluster": 1})),
    )
    return cluster_plan(edges, Relay.AGGREGATE, modules=modules, cluster={"gossip": gossip})


def test_all_who_hear_all_agree_after_one_iteration(monkeypatch):
    plan = consensus_plan(list(combinations(["d0", "d1", "d2", "d3"], 2)), None)
    running, found = played(plan, monkeypatch)
    assert plan.clusters[0].gossip.iterations == 1
    check_average(plan, found, running)


@pytest.mark.parametrize("kind", ["line", "ring", "star"])
def test_a_consensus_comes_as_close_as_the_gap_says(kind, monkeypatch):
    plan = consensus_plan(graph(kind, 4), None, tolerance=0.01)
    running, found = played(plan, monkeypatch)
    state = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    mean = average(state, [d.id for d in plan.devices], 0)["adapter"]
    assert np.abs(found["d0", "adapter"] - mean).max() < 0.01 * 4 * np.abs(mean - state["adapter"]).max()
    said = [e for e in running.kind("consensus") if e["module"] == "adapter"]
    gossip = plan.clusters[0].gossip
    assert len(said) == 4 * gossip.iterations
    by_step = [max(e["disagreement"] for e in said if e["step"] == s) for s in range(gossip.iterations)]
    assert by_step[-1] < 0.1 * by_step[0]
    assert not running.kind("warning")


def test_one_device_of_the_cluster_uploads_what_all_agreed_on(monkeypatch):
    plan = consensus_plan(graph("ring", 4), 20, cluster=1, edge=1, cloud=1)
    running, found = played(plan, monkeypatch)
    state = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    mean = average(state, [d.id for d in plan.devices], 0)["adapter"]
    np.testing.assert_allclose(found["cloud", "adapter"], mean, rtol=0, atol=1e-4)
    uplinks = [e for e in running.kind("transfer") if e["dst"] == "e0"]
    assert {e["src"] for e in uplinks} == {"d0"}
    told = [e for e in running.kind("aggregated") if e["module"] == "adapter" and e["tier"] == "cloud"]
    assert [len(e["contributors"]) for e in told] == [4]


@pytest.mark.parametrize("relay", list(Relay))
def test_heads_take_turns(relay, monkeypatch):
    """Every round another head; the average is the same, and each head reports once."""
    edges = graph("ring", 4)
    turns = tuple(
        Turn(first_round=i, head=f"d{i}", edges=tuple(sorted(orient(edges, f"d{i}").items())))
        for i in range(4)
    )
    modules = (module("adapter", 3000, cluster=1, edge=1, cloud=1),)
    plan = cluster_plan(edges, relay, modules=modules, cluster={"turns": turns, "repeats_after": 4})

    async def play() -> tuple[Federation, dict]:
        async with federation(plan, monkeypatch) as running:
            await running.rounds(5)
            return running, await running.modules()

    running, found = asyncio.run(play())
    state = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    for r in range(5):
        state = average(state, [d.id for d in plan.devices], r)
    np.testing.assert_allclose(found["cloud", "adapter"], state["adapter"], rtol=0, atol=5e-7)
    heads = [e["node"] for e in running.kind("aggregated") if e["tier"] == "cluster"]
    assert heads == ["d0", "d1", "d2", "d3", "d0"]


def test_routes_and_rates_follow_a_graph_that_moves(monkeypatch):
    """From round 1 on the link d1 - d0 is gone and d3 - d0 slow; in round 2 device d2 is cut off."""
    edges = graph("ring", 4)
    turns = (
        Turn(first_round=0, head="d0", edges=(("d1", "d0"), ("d2", "d1"), ("d3", "d0"))),
        Turn(first_round=1, head="d0", edges=(("d1", "d2"), ("d2", "d3"), ("d3", "d0"))),
        Turn(first_round=2, head="d0", edges=(("d1", "d0"), ("d3", "d0"))),
    )
    slow = Link(src="d3", dst="d0", kind=LinkKind.D2D, rate_bps=1e6, power_w=0.6, receive_w=0.4)
    modules = (module("adapter", 3000, cluster=1, edge=1, cloud=1),)
    plan = cluster_plan(
        edges,
        Relay.AGGREGATE,
        modules=modules,
        cluster={"turns": turns},
        moves=(Move(first_round=1, links=(slow,)),),
    )
    running, found = played(plan, monkeypatch, rounds=3)
    state = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    for r in range(3):
        state = average(state, [d.id for d in plan.devices], r)
    np.testing.assert_allclose(found["cloud", "adapter"], state["adapter"], rtol=0, atol=5e-7)
    sent = {(e["round"], e["src"], e["dst"]): e for e in running.kind("transfer") if e["purpose"] == "update"}
    assert (1, "d1", "d0") not in sent
    assert sent[1, "d3", "d0"]["modelled_s"] == pytest.approx(8 * sent[1, "d3", "d0"]["bytes"] / 1e6)
    assert sent[1, "d3", "d0"]["seconds"] > 0.9 * sent[1, "d3", "d0"]["modelled_s"]
    assert sent[1, "d3", "d0"]["energy_j"] == pytest.approx(1.0 * sent[1, "d3", "d0"]["airtime_s"])
    assert (2, "d2", "e0") in sent
    assert any("takes the uplink" in e["message"] for e in running.kind("warning") if e["node"] == "d2")
