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


def begun(shape: str) -> tuple[Regrouping, Above, Family, list[bool]]:
    """A cluster of four in its first round, what its parent has, and whether regrouping says: do it again."""
    plan = cluster_plan(graph(shape, 4), Relay.AGGREGATE, modules=(module(cluster=1, edge=1, cloud=1),))
    (cluster,) = plan.clusters
    log, again = NodeLog(cluster.parent), []
    log.add_sink(lambda event: again.append(event["again"]) if event["kind"] == "regrouped" else None)
    family = Family(plan, cluster.parent, log)
    for child in family.children.values():
        child.connection, child.samples = 1, {"adapter": 5}
    above = Above(Circulation(plan))
    regrouping = Regrouping(plan, cluster, family, log, above)
    regrouping.begin(0, 1)
    return regrouping, above, family, again


def lose(regrouping: Regrouping, family: Family, child: str) -> None:
    family.children[child].connection = 0
    regrouping._regroup(0, {child}, set(), f"'{child}' is lost")


def test_a_head_that_was_cut_off_has_not_delivered_for_the_others() -> None:
    """d0 - d1 - d2 - d3 without d1: d0 reports for itself, and the round is not over before d2 has for two."""
    regrouping, above, family, _ = begun("line")
    lose(regrouping, family, "d1")
    assert regrouping.at(0).head == "d2"
    above.pushed = {"d0": {"d0"}}
    assert not regrouping.has_delivered(0)
    above.pushed["d2"] = {"d2", "d3"}
    assert regrouping.has_delivered(0)
    # Unless it had sent the sum of all before it was cut off.
    above.pushed = {"d0": {"d0", "d1", "d2", "d3"}}
    assert regrouping.has_delivered(0)


def test_without_a_leaf_those_who_are_done_send_again() -> None:
    """The head begins anew, and what others had sent it does not count any more."""
    regrouping, _, family, again = begun("line")
    lose(regrouping, family, "d3")
    assert again == [True]


def test_what_has_been_delivered_is_not_done_again() -> None:
    regrouping, above, family, again = begun("line")
    above.pushed = {"d0": {"d0", "d1", "d2", "d3"}}
    lose(regrouping, family, "d3")
    assert again == [False]
