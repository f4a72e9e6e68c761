"""What is left of a cluster: at every node the same tree, over links that are left, to a head that is left."""

from __future__ import annotations

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from node.plan import Cluster, Link, LinkKind, Plan, Relay, Turn
from node.roles.survivors import Survivors
from node.routing import orient
from tests.federation import make_plan, module
from tests.roles.clusters import TIERS
from tests.test_routing import Graph, connected_graphs, nodes_of


def plan_of(graph: Graph) -> Plan:
    """Heads take turns, every second round another one."""
    nodes, edges = nodes_of(graph), {(min(p), max(p)) for p in graph}
    links = tuple(
        Link(src=a, dst=b, kind=LinkKind.D2D, rate_bps=8e6 / seconds) for (a, b), seconds in graph.items()
    )
    turns = tuple(
        Turn(first_round=2 * i, head=head, edges=tuple(sorted(orient(edges, head).items())))
        for i, head in enumerate(nodes)
    )
    cluster = Cluster(parent="e0", head=nodes[0], edges=turns[0].edges, relay=Relay.AGGREGATE, turns=turns,
                      repeats_after=2 * len(nodes))  # fmt: skip
    parents = {"cloud": None, "e0": "cloud", **dict.fromkeys(nodes, "e0")}
    return make_plan(parents, TIERS, (module("adapter", 250_000, cluster=1),), links, (cluster,))


@given(connected_graphs(), st.data())
def test_those_who_still_reach_each_other_have_a_tree(graph: Graph, data: st.DataObject) -> None:
    plan, nodes = plan_of(graph), nodes_of(graph)
    lost = set(data.draw(st.lists(st.sampled_from(nodes), max_size=len(nodes) - 1)))
    broken = data.draw(st.lists(st.sampled_from(sorted(graph)), max_size=4))
    round_index = data.draw(st.integers(0, 50))
    survivors = Survivors(plan, plan.clusters[0])
    survivors.lose(1, lost, broken)
    found, planned = survivors.at(round_index), plan.clusters[0].at(round_index)
    left = nx.Graph([edge for edge in graph if edge not in broken and edge[::-1] not in broken])
    left.add_nodes_from(nodes)
    left.remove_nodes_from(lost)
    groups = [set(group) for group in nx.connected_components(left)]
    tree = nx.Graph(list(found.edges))
    tree.add_node(found.head)
    if not lost and not broken:
        assert found == planned
    assert nx.is_tree(tree)
    assert set(tree) in groups
    assert len(tree) == max(map(len, groups))
    assert all(left.has_edge(a, b) for a, b in found.edges)
    assert set(found.toward_head) == set(tree) - {found.head}
    if planned.head in tree:
        assert found.head == planned.head
    other = Survivors(plan, plan.clusters[0])
    other.lose(7, sorted(lost, reverse=True), [edge[::-1] for edge in reversed(broken)])
    assert other.at(round_index) == found


@given(connected_graphs())
def test_the_turns_of_a_lost_head_fall_to_all_others(graph: Graph) -> None:
    members = nodes_of(graph)
    plan = plan_of({(a, b): 1.0 for a in members for b in members if a != b})
    survivors = Survivors(plan, plan.clusters[0])
    survivors.lose(1, [members[0]], [])
    cycle = 2 * len(members)
    stand_ins = [survivors.at(k * cycle).head for k in range(len(members) - 1)]
    assert sorted(stand_ins) == members[1:]
