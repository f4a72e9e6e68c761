"""The measured time of an exchange in which relays send on what comes as it comes, on made-up clocks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.plan import Cluster, Link, LinkKind, Plan, Relay
from node.routing import orient
from orchestrator.cost.relaying import hop, towards_s
from orchestrator.record.summary import summarize
from tests.orchestrator.relays import flows_of, play, told
from tests.orchestrator.streams import Event, link, module, plan
from tests.test_routing import Graph, connected_graphs, nodes_of

SIZE = 32 * 65_536  # of a payload
STREAMED = [Relay.CUT_THROUGH, Relay.AGGREGATE]


def cluster_plan(graph: Graph, relay: Relay) -> Plan:
    """The links of a graph, each with a rate of its own between 8 and 80 Mbit/s, and the tree to its first node."""
    nodes = nodes_of(graph)
    links = [
        Link(src=a, dst=b, kind=LinkKind.D2D, rate_bps=8e6 * (1 + 9 * seconds / 100), power_w=1)
        for (a, b), seconds in graph.items()
    ]
    tree = tuple(sorted(orient({(min(p), max(p)) for p in graph}, nodes[0]).items()))
    cluster = Cluster(parent="edge", head=nodes[0], edges=tree, relay=relay)
    parents = {"edge": "cloud", **dict.fromkeys(nodes, "edge")}
    backhaul = link("edge", "cloud", "backhaul", 1)
    return plan(parents, [*links, backhaul], [module("adapter", SIZE // 4, cluster=1)], clusters=[cluster])


def line() -> Graph:
    """n3 > n2 > n1 > n0, all links alike."""
    return {way: 50.0 for i in range(3) for way in ((f"n{i}", f"n{i + 1}"), (f"n{i + 1}", f"n{i}"))}


def modelled_s(of: Plan) -> float:
    hops = {(k.src, k.dst): hop(k, SIZE, chunks_count=True) for k in of.links if k.kind is LinkKind.D2D}
    return towards_s(of.clusters[0], hops, of.clusters[0].relay, links_are_shared=True)


def events_of(of: Plan, begin: dict[str, float], hold: bool = False) -> list[Event]:
    flows = flows_of(of, of.clusters[0], of.clusters[0].relay, SIZE)
    play(flows, begin, hold)
    return told(flows, begin, SIZE, of)


def measured_s(of: Plan, events: list[Event]) -> float:
    closed = {
        "t": 0.0,
        "node": "cloud",
        "kind": "round",
        "round": 0,
        "rounds": 1,
        "tier": "cloud",
        "wall_s": 1.0,
    }
    found = summarize(of, [*events, closed]).latency_s
    assert found.measured_transfers is not None
    assert found.measured == pytest.approx(found.measured_transfers + 1)  # the training comes before
    return found.measured_transfers


@settings(max_examples=25)
@given(connected_graphs(), st.sampled_from(STREAMED))
def test_links_that_do_as_modelled_give_the_modelled_time(graph: Graph, relay: Relay) -> None:
    of = cluster_plan(graph, relay)
    events = events_of(of, dict.fromkeys(nodes_of(graph), 0.0))
    assert measured_s(of, events) == pytest.approx(modelled_s(of), rel=0.04)


@settings(max_examples=25)
@given(connected_graphs(), st.sampled_from(STREAMED), st.data())
def test_who_trains_longer_does_not_make_the_transfers_longer(
    graph: Graph, relay: Relay, data: st.DataObject
) -> None:
    """Cores that are shared delay some devices by many times what a payload takes."""
    of = cluster_plan(graph, relay)
    begin = {n: data.draw(st.floats(0, 60)) for n in nodes_of(graph)}
    assert measured_s(of, events_of(of, begin)) == pytest.approx(modelled_s(of), rel=0.15)


@pytest.mark.parametrize("relay", STREAMED)
def test_relays_that_wait_for_whole_payloads_are_seen(relay: Relay) -> None:
    of = cluster_plan(line(), relay)
    begin = dict.fromkeys(nodes_of(line()), 5.0)
    one_s = 8 * SIZE / 44e6
    assert measured_s(of, events_of(of, begin)) == pytest.approx(modelled_s(of), rel=0.04)
    assert measured_s(of, events_of(of, begin, hold=True)) == pytest.approx(3 * one_s, rel=0.01)


def test_streams_that_share_a_link_count_together() -> None:
    """Two payloads over the last link of two: the first one alone, the second after it, 1 s each."""
    of = cluster_plan({k: v for k, v in line().items() if "n3" not in k}, Relay.CUT_THROUGH)
    base = {
        "kind": "transfer",
        "link": "d2d",
        "round": 0,
        "purpose": "update",
        "modules": ["adapter"],
        "bytes": SIZE,
    }
    events = [
        {**base, "t": 10.0, "node": "n1", "src": "n1", "dst": "n0", "origins": ["n1"], "seconds": 1.0},
        {**base, "t": 10.0, "node": "n2", "src": "n2", "dst": "n1", "origins": ["n2"], "seconds": 0.9},
        {**base, "t": 11.0, "node": "n1", "src": "n1", "dst": "n0", "origins": ["n2"], "seconds": 1.0},
    ]
    closed = {
        "t": 0.0,
        "node": "cloud",
        "kind": "round",
        "round": 0,
        "rounds": 1,
        "tier": "cloud",
        "wall_s": 1.0,
    }
    assert summarize(of, [*events, closed]).latency_s.measured_transfers == pytest.approx(2.0)
