"""Decisions on the way: from what was measured, and the same in the record as on the nodes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from node.plan import Plan, Policy
from orchestrator.cost.pricing import price
from orchestrator.policy import under
from orchestrator.record.course import Course
from orchestrator.record.decisions import decisions
from orchestrator.record.events import read_events
from orchestrator.record.folder import RunRecord
from orchestrator.record.runs import load_run
from orchestrator.run.deciding import Deciding, drift_rates, measured_rates
from tests.orchestrator.streams import link, module
from tests.orchestrator.streams import plan as plan_of

PARENTS = {"edge-0": "cloud", "edge-1": "cloud", "a": "edge-0", "b": "edge-0", "c": "edge-1", "d": "edge-1"}
NAMES = ("adapter", "head")


def adaptive(**policy: Any) -> Plan:
    given = Policy(**{"budget_s": 0.5, "longest": 4, "modules": NAMES, **policy})
    kinds = {"cloud": "backhaul"}
    links = [link(child, parent, kinds.get(parent, "uplink"), 0.01) for child, parent in PARENTS.items()]
    modules = [module(name, 1000, edge=4) for name in NAMES]
    return plan_of(PARENTS, links, modules, policy=given, rounds=8)


def aggregated(
    r: int, name: str, tier: str, drift: float | None, rounds: int = 1, **more: Any
) -> dict[str, Any]:
    node = "cloud" if tier == "cloud" else "edge-0"
    told = {"kind": "aggregated", "round": r, "module": name, "tier": tier, "contributors": ["a", "b"]}
    return {"t": 1.0, "node": node, **told, "weight": 10.0, "drift": drift, "norm": 2.0, "rounds": rounds,
            "senders": 2, **more}  # fmt: skip


def closed(r: int) -> dict[str, Any]:
    return {"t": 1.0, "node": "cloud", "kind": "round", "round": r, "rounds": 4, "tier": "cloud"}


class Kept:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def event(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    def add_module(self, holder: str, module: str, data: bytes) -> None: ...


def test_drift_is_that_of_the_last_meeting_per_round_since_the_one_before():
    some = [
        aggregated(0, "adapter", "edge", 4.0),
        aggregated(3, "adapter", "edge", 0.4, 2, weight=30.0),
        aggregated(3, "adapter", "edge", 0.8, 2, node="edge-1"),
        aggregated(3, "adapter", "cloud", None),
        aggregated(3, "head", "cloud", 0.5, senders=1),
    ]
    assert drift_rates(read_events(some)) == pytest.approx({("adapter", "edge"): (0.1 * 30 + 0.2 * 10) / 40})


def test_rates_are_those_of_the_links_and_not_of_this_machine():
    sent = {"t": 1.0, "node": "a", "kind": "transfer", "src": "a", "dst": "edge-0", "link": "uplink", "round": 0,
            "bytes": 100_000, "seconds": 2.5, "waited_s": 0.5}  # fmt: skip
    plan, events = adaptive(), read_events([sent])
    assert measured_rates(plan, events, 4) == {("a", "edge-0"): 8 * 100_000 / 2.0}
    assert measured_rates(plan, events, 5) == {}, "of the last four rounds only"
    assert measured_rates(plan.replace(links_backend="none"), events, 4) == {}


def ordered(deciding: Deciding, done: int, missing: int) -> Any:
    return asyncio.run(deciding.next(done, missing))


def test_what_drifts_gets_the_rounds_and_the_reasons_are_kept(tmp_path):
    """A decision at each boundary, from the events before it alone: the same for whoever resumes the run."""
    plan = adaptive(budget_s=0.06)
    assert plan.policy is not None
    record = RunRecord.create(tmp_path / "run", plan)
    first = Deciding(plan, plan.policy, record)
    assert ordered(first, 0, 8)[0] == 4
    for event in (
        aggregated(3, "adapter", "edge", 0.001, 4),
        aggregated(3, "head", "edge", 2.0, 4),
        closed(3),
    ):
        first.event(event)
    first.event(aggregated(4, "adapter", "edge", 50.0))  # after the boundary: not of this decision
    count, change, why = ordered(first, 4, 4)
    assert (count, change.first_round) == (4, 4)
    assert change.periods["head"]["edge"] < change.periods["adapter"]["edge"] == 4
    said = json.loads(why)
    assert said["latency_s"] <= 0.06
    assert said["drift_per_round"] == {"adapter at edge": 0.000125, "head at edge": 0.25}
    again = Deciding(plan, plan.policy, Kept())
    for event in load_events(tmp_path / "run"):
        again.event(event)
    assert ordered(again, 4, 4) == (count, change, why)
    assert ordered(again, 5, 3) == (3, None, ""), "between two boundaries nothing changes"
    record.event(
        {"t": 1.0, "node": "cloud", "kind": "decided", "round": 4, "periods": change.periods, "reason": why}
    )
    record.finish()
    (made,) = decisions(load_run(tmp_path / "run"))
    assert (made.round, made.periods, made.reasons) == (4, change.periods, said["reasons"])


def load_events(folder):
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_the_price_of_a_run_is_that_of_what_was_in_force():
    plan = adaptive()
    later = {"adapter": {"edge": 1, "cloud": 2}, "head": {"edge": 2}}
    told = {"t": 1.0, "node": "cloud", "kind": "decided", "round": 4, "periods": later}
    course = Course(plan, read_events([told]))
    assert [(part.modules[0].periods, r) for part, r in course.parts(range(2, 8))] == [
        ({"edge": 4}, range(2, 4)),
        (later["adapter"], range(4, 8)),
    ]
    costs = price(plan), price(under(plan, later))
    found = course.price(range(2, 8))
    assert found.latency_s == pytest.approx((2 * costs[0].latency_s + 4 * costs[1].latency_s) / 6)
    assert sum(found.parts["energy_j"].values()) == pytest.approx(found.energy_j)
