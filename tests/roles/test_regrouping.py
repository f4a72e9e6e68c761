"""What the parent of a cluster waits for, step by step and without a network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from node.log import NodeLog
from node.plan import Circulation, Relay
from node.roles.regrouping import Regrouping
from node.wire.family import Family
from node.wire.landing import Key
from tests.federation import module
from tests.roles.clusters import cluster_plan, graph


class Above:
    """The parent, with what has been pushed to it: sender -> devices whose training is in it."""

    def __init__(self, circulation: Circulation) -> None:
        self.circulation = circulation
        self.held: dict[str, Any] = {"adapter": None}
        self.pushed: dict[str, set[str]] = {}

    def taken(self, key: Key) -> bool:
        return key.sender in self.pushed

    def has_from(self, module: str, devices: Iterable[str]) -> bool:
        return any(not found.isdisjoint(devices) for found in self.pushed.values())


def test_a_head_that_was_cut_off_has_not_delivered_for_the_others() -> None:
    """d0 - d1 - d2 - d3 without d1: d0 reports for itself, and the round is not over before d2 has for two."""
    plan = cluster_plan(graph("line", 4), Relay.AGGREGATE, modules=(module(cluster=1, edge=1, cloud=1),))
    (cluster,) = plan.clusters
    family = Family(plan, cluster.parent, NodeLog(cluster.parent))
    for child in family.children.values():
        child.connection, child.samples = 1, {"adapter": 5}
    above = Above(Circulation(plan))
    regrouping = Regrouping(plan, cluster, family, NodeLog(cluster.parent), above)
    regrouping.begin(0, 1)
    family.children["d1"].connection = 0
    regrouping._regroup(0, {"d1"}, set(), "'d1' is lost", "d1")
    assert regrouping.at(0).head == "d2"
    above.pushed = {"d0": {"d0"}}
    assert not regrouping.has_delivered(0)
    above.pushed["d2"] = {"d2", "d3"}
    assert regrouping.has_delivered(0)
    # Unless it had sent the sum of all before it was cut off.
    above.pushed = {"d0": {"d0", "d1", "d2", "d3"}}
    assert regrouping.has_delivered(0)
