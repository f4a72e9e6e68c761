"""Routing over any connected graph: trees span, have no loop, and lead to the head."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.routing import (
    Pair,
    is_connected,
    minimum_spanning_tree,
    next_hops,
    orient,
    path,
    proximity_graph,
    shortest_times,
    tree_towards,
)

Graph = dict[Pair, float]  # directed, both ways of each edge


@st.composite
def connected_graphs(draw: st.DrawFn) -> Graph:
    """Two to nine nodes, a random tree and random further edges, a time of its own for each direction."""
    names = [f"n{i}" for i in range(draw(st.integers(2, 9)))]
    edges = {(names[draw(st.integers(0, i - 1))], names[i]) for i in range(1, len(names))}
    edges |= set(draw(st.lists(st.sampled_from(list(combinations(names, 2))), max_size=8)))
    time = st.floats(0.01, 100, allow_nan=False)
    return {way: draw(time) for edge in sorted(edges) for way in (edge, edge[::-1])}


def nodes_of(graph: Graph) -> list[str]:
    return sorted({node for pair in graph for node in pair})


@given(connected_graphs())
def test_shortest_times_are_those_of_networkx(graph: Graph) -> None:
    reference = nx.DiGraph()
    reference.add_weighted_edges_from((a, b, w) for (a, b), w in graph.items())
    times, before = shortest_times(graph, "n0")
    assert times == pytest.approx(nx.single_source_dijkstra_path_length(reference, "n0"))
    assert set(before) == set(times) - {"n0"}


@given(connected_graphs())
def test_next_hops_lead_to_the_target_in_the_shortest_time(graph: Graph) -> None:
    hops = next_hops(graph, "n0")
    for node in set(nodes_of(graph)) - {"n0"}:
        way = path(hops, node)
        assert way[-1][1] == "n0"
        assert len({a for a, _ in way}) == len(way)
        assert sum(graph[link] for link in way) == pytest.approx(shortest_times(graph, node)[0]["n0"])


@given(connected_graphs())
def test_the_tree_towards_a_head_spans_without_a_loop(graph: Graph) -> None:
    nodes, edges = nodes_of(graph), {(min(p), max(p)) for p in graph}
    for head in nodes:
        tree = tree_towards(edges, graph, head)
        assert nx.is_tree(nx.Graph(tree))
        assert {n for pair in tree for n in pair} == set(nodes)
        assert dict(tree) == orient(tree, head)


@given(connected_graphs())
def test_minimum_spanning_tree_has_the_weight_of_networkx(graph: Graph) -> None:
    reference = nx.Graph()
    for (a, b), w in graph.items():
        reference.add_edge(a, b, weight=min(w, graph[b, a]))
    tree = minimum_spanning_tree(graph)
    assert nx.is_tree(nx.Graph(tree))
    weight = sum(min(graph[a, b], graph[b, a]) for a, b in tree)
    assert weight == pytest.approx(nx.minimum_spanning_tree(reference).size("weight"))


@given(connected_graphs(), st.floats(0, 100))
def test_the_published_graph_is_connected_and_keeps_near_pairs(graph: Graph, within_m: float) -> None:
    distance = {(a, b): abs(int(a[1:]) - int(b[1:])) * 20.0 for a, b in graph}
    edges = proximity_graph(graph, distance, within_m)
    assert is_connected(nodes_of(graph), edges)
    assert {(min(p), max(p)) for p in graph if distance[p] <= within_m} <= set(edges)
    if within_m == 0:
        assert edges == minimum_spanning_tree(graph)


def test_pieces_that_do_not_hang_together() -> None:
    assert not is_connected(["a", "b", "c"], [("a", "b")])
    assert is_connected(["a"], [])
    assert is_connected([], [])
    assert orient([("a", "b"), ("c", "d")], "a") == {"b": "a"}
    assert minimum_spanning_tree({("b", "a"): 1.0, ("c", "d"): 2.0}) == [("a", "b"), ("c", "d")]
    assert next_hops({("a", "b"): 1.0}, "a") == {}


def test_what_cannot_be_routed_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        shortest_times({("a", "b"): -1.0}, "a")
    with pytest.raises(ValueError, match="circle"):
        path({"a": "b", "b": "a"}, "a")


def test_equal_ways_are_told_apart_by_name() -> None:
    square = {way: 1.0 for e in (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")) for way in (e, e[::-1])}
    assert next_hops(square, "d") == {"b": "d", "c": "d", "a": "b"}
