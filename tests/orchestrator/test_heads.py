"""Heads and trees that are chosen, take turns, or are not needed."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.plan import Cluster, Link, LinkKind, Relay
from node.routing import Pair, contraction, metropolis_weights, tree_towards
from orchestrator.cost.gossip import gossip_over, iterations_for
from orchestrator.cost.heads import Pricing, best_tree
from orchestrator.cost.phases import by_round
from orchestrator.cost.pricing import price
from orchestrator.plans.resolve import resolve
from tests.orchestrator.test_cost import ANY_FOLDER, drawn
from tests.test_routing import Graph, connected_graphs, nodes_of


def pricing(graph: Graph) -> Pricing:
    """Of links that take so many seconds for one MB."""
    links = {
        (a, b): Link(src=a, dst=b, kind=LinkKind.D2D, rate_bps=8e6 / seconds, power_w=1)
        for (a, b), seconds in graph.items()
    }
    uplinks = {
        n: Link(src=n, dst="e", kind=LinkKind.UPLINK, rate_bps=8e6, power_w=1) for n in nodes_of(graph)
    }
    return Pricing(links, uplinks, 1e6, 2, links_are_shared=True)


@settings(deadline=None, max_examples=40)
@given(connected_graphs(), st.sampled_from(list(Relay)))
def test_a_chosen_tree_spans_and_is_no_worse_than_the_shortest_paths(graph: Graph, relay: Relay) -> None:
    nodes, edges = nodes_of(graph), sorted({(min(p), max(p)) for p in graph})
    priced = pricing(graph)
    for objective in (priced.seconds, priced.joules):
        found = best_tree("e", nodes, edges, relay, nodes[0], graph, objective)
        assert nx.is_tree(nx.Graph(list(found.edges)))
        assert found.members == nodes
        assert {frozenset(e) for e in found.edges} <= {frozenset(e) for e in edges}
        usual = Cluster(
            parent="e", head=nodes[0], edges=tuple(tree_towards(edges, graph, nodes[0])), relay=relay
        )
        assert objective(found) <= objective(usual) * (1 + 1e-9)


@ANY_FOLDER
@given(st.integers(0, 10_000))
def test_chosen_heads_cost_no_more_than_drawn_ones(tmp_path: Path, seed: int) -> None:
    costs = {
        heads: price(
            resolve(drawn(tmp_path, seed, d2d={"heads": heads, "relay": "aggregate"}), "hf-fm+d2d-4")
        )
        for heads in ("random", "latency", "energy")
    }
    assert costs["energy"].energy_j <= costs["random"].energy_j * (1 + 1e-9)
    assert costs["energy"].energy_j <= costs["latency"].energy_j * (1 + 1e-9)


def test_the_plan_says_how_heads_and_trees_were_chosen(tmp_path: Path) -> None:
    for d2d, told in (
        ({"heads": "random"}, "head: random; tree: shortest paths"),
        ({"heads": "energy"}, "head: smallest modelled energy; tree: smallest modelled energy"),
        ({"heads": [0, 4, 8], "tree": "latency"}, "head: fixed; tree: smallest modelled round time"),
    ):
        plan = resolve(drawn(tmp_path, 3, d2d=d2d), "hf-fm+d2d-2")
        assert {c.objective for c in plan.clusters} == {told}


def test_heads_take_turns_at_every_synchronisation(tmp_path: Path) -> None:
    plan = resolve(drawn(tmp_path, 3, d2d={"heads": "rotating"}), "hf-fm+d2d-2")
    for cluster in plan.clusters:
        heads = [cluster.at(r).head for r in range(16)]
        assert heads[0::2] == heads[1::2]
        assert sorted(heads[0:8:2]) == cluster.members
        assert heads[:8] == heads[8:]
    parts = by_round(plan)
    assert [r for _, r in parts] == list(range(8))
    mean = sum(price(part).energy_j for part, _ in parts) / 8
    assert price(plan).energy_j == pytest.approx(mean)


@given(connected_graphs())
def test_metropolis_weights_lead_to_the_mean_as_fast_as_the_gap_says(graph: Graph) -> None:
    edges = sorted({(min(p), max(p)) for p in graph})
    weights, names = metropolis_weights(edges), nodes_of(graph)
    matrix = np.array([[weights.get((a, b), 0.0) for b in names] for a in names])
    assert (matrix == matrix.T).all()
    np.testing.assert_allclose(matrix.sum(axis=0), 1)
    share, values = contraction(edges), np.random.default_rng(0).normal(size=len(names))
    for _ in range(5):
        after = matrix @ values
        distance = np.linalg.norm(after - after.mean())
        assert distance <= share * np.linalg.norm(values - values.mean()) + 1e-9
        values = after


def test_iterations_of_a_consensus() -> None:
    complete: list[Pair] = list(combinations("abcd", 2))
    assert gossip_over(complete, None, 1e-6).iterations == 1  # all hear all: one is enough
    assert gossip_over([("a", "b"), ("b", "c")], 7, 0.1).iterations == 7
    assert iterations_for(0.01, 0.1) == 2
    assert gossip_over([], None, 0.1).contraction == 0
