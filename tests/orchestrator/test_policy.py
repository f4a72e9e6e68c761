"""The policy `network-aware`: the budget is held, what drifts most comes first, slow links send less."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import ScenarioError
from node.plan import Link, LinkKind, Plan, Policy
from orchestrator.cost.pricing import price
from orchestrator.plans.resolve import resolve
from orchestrator.policy import Decision, chain, decide, under
from tests.orchestrator.scenarios import scenario, shipped, table
from tests.orchestrator.streams import module
from tests.orchestrator.streams import plan as plan_of

NAMES = ("adapter", "expert", "head")
SIZES = dict(zip(NAMES, (100_000, 20_000, 1_000), strict=True))
TIERS = ("edge", "cloud")
PARENTS = {"edge-0": "cloud", "edge-1": "cloud", "a": "edge-0", "b": "edge-0", "c": "edge-1", "d": "edge-1"}
RATES = st.fixed_dictionaries({(m, t): st.floats(0, 1) for m in NAMES for t in TIERS})
SPEEDS = st.fixed_dictionaries({child: st.floats(1e4, 1e7) for child in PARENTS})


def network(speeds: dict[str, float]) -> Plan:
    kind = {True: LinkKind.BACKHAUL, False: LinkKind.UPLINK}
    links = [
        Link(src=c, dst=p, kind=kind[p == "cloud"], rate_bps=speeds[c], delay_s=0.01, power_w=1.0)
        for c, p in PARENTS.items()
    ]
    return plan_of(PARENTS, links, [module(name, size) for name, size in SIZES.items()])


def often(decision: Decision, name: str, tier: str) -> float:
    """Averages per round."""
    return 1 / decision.periods[name].get(tier, float("inf"))


def decided(plan: Plan, rates: dict[tuple[str, str], float], **policy: float) -> Decision:
    return decide(plan, Policy(**{"longest": 8, **policy}), NAMES, rates)


@settings(max_examples=40)
@given(SPEEDS, RATES, st.sampled_from(["budget_s", "budget_j"]), st.floats(1e-3, 1e3))
def test_the_budget_is_held_whenever_it_can_be(speeds, rates, kind, budget):
    plan = network(speeds)
    found = decided(plan, rates, **{kind: budget})
    cost = price(under(plan, found.periods))
    assert (cost.latency_s, cost.energy_j) == (found.latency_s, found.energy_j)
    spent = found.latency_s if kind == "budget_s" else found.energy_j
    rarest = price(under(plan, {name: {"edge": 8} for name in NAMES}))
    least = rarest.latency_s if kind == "budget_s" else rarest.energy_j
    assert found.feasible == (least <= budget)
    assert not found.feasible or spent <= budget
    for periods in found.periods.values():  # all tiers have averaged all after `longest` rounds
        assert all(8 % p == 0 for p in periods.values())
        assert periods.get("cloud", 8) % periods["edge"] == 0


@settings(max_examples=40)
@given(SPEEDS, RATES, st.floats(1e-2, 1e2), st.floats(1, 10))
def test_a_larger_budget_makes_no_module_rarer(speeds, rates, budget, more):
    plan = network(speeds)
    small, large = (decided(plan, rates, budget_s=b) for b in (budget, budget * more))
    for name in NAMES:
        for tier in TIERS:
            assert often(large, name, tier) >= often(small, name, tier)


@settings(max_examples=40)
@given(SPEEDS, RATES, st.floats(1e-2, 1e2), st.sampled_from(sorted(PARENTS)), st.floats(0.05, 1))
def test_a_slower_link_sends_less(speeds, rates, budget, child, slower):
    fast, slow = (
        decided(network(s), rates, budget_j=budget)
        for s in (speeds, {**speeds, child: speeds[child] * slower})
    )
    tier = "cloud" if PARENTS[child] == "cloud" else "edge"

    def values_a_round(decision: Decision) -> float:
        return sum(SIZES[name] * often(decision, name, tier) for name in NAMES)

    assert values_a_round(slow) <= values_a_round(fast) * (1 + 1e-9)


@settings(max_examples=40)
@given(SPEEDS, st.floats(1e-2, 1e2), st.permutations(NAMES), st.sampled_from(TIERS))
def test_what_drifts_most_is_averaged_most(speeds, budget, order, tier):
    plan = plan_of(PARENTS, network(speeds).links, [module(name, 10_000) for name in NAMES])
    rates = {(m, t): 0.1 * (1 + i) for i, m in enumerate(order) for t in TIERS}
    found = decided(plan, rates, budget_s=budget)
    frequencies = [often(found, name, tier) for name in order]
    assert frequencies == sorted(frequencies)


def test_nothing_is_spent_on_drift_that_is_tolerated():
    plan = network(dict.fromkeys(PARENTS, 1e6))
    rates = {(m, t): (0.01 if m == "head" else 0.1) for m in NAMES for t in TIERS}
    found = decided(plan, rates, budget_s=1e6, tolerance=0.2)
    assert found.periods == {
        "adapter": {"edge": 2, "cloud": 2},
        "expert": {"edge": 2, "cloud": 2},
        "head": {"edge": 8},
    }
    assert "beyond the tolerance" in found.stopped
    assert "edge 8 %, cloud never; 20 % tolerated" in found.reasons["head"]


def test_the_cheaper_way_is_taken_module_by_module(tmp_path: Path):
    """Device to device, where it is faster than the slowest uplink, and not where it is slower."""
    for d2d_bps, ways in ((1e8, {True}), (1e3, {False})):
        channel = table(device_edge=1e5, edge_cloud=1e6)
        channel["links"].append({"from": "device", "to": "device", "rate_bps": d2d_bps, "power_w": 0.1})
        loaded = scenario(
            tmp_path,
            methods=["network-aware+d2d"],
            topology={"kind": "tree", "fanout": [2, 3], "d2d": {"graph": "line", "relay": "aggregate"}},
            channel=channel,
            policy={"budget_s": 40.0},
        )
        plan = resolve(loaded, "network-aware+d2d")
        assert {m.over_d2d for m in plan.modules} == ways
        assert price(plan).latency_s <= 40.0


def test_what_cannot_be_decided_is_said(tmp_path: Path):
    shape = {
        "topology": {"kind": "tree", "fanout": [2, 2]},
        "channel": table(device_edge=1e5, edge_cloud=1e6),
    }
    without = scenario(tmp_path, methods=["network-aware"], **shape)
    with pytest.raises(ScenarioError, match="'network-aware' needs a budget"):
        resolve(without, "network-aware")
    tight = scenario(tmp_path, methods=["network-aware"], policy={"budget_s": 0.01}, **shape)
    with pytest.raises(ScenarioError, match=r"policy: even the rarest circulation takes .* raise the budget"):
        resolve(tight, "network-aware")
    with pytest.raises(ScenarioError, match="either budget_s or budget_j"):
        scenario(tmp_path, policy={"budget_s": 1, "budget_j": 1}, **shape)


def test_a_module_that_a_rule_has_given_periods_keeps_them(tmp_path: Path):
    loaded = scenario(
        tmp_path,
        methods=["network-aware"],
        topology={"kind": "tree", "fanout": [2, 2]},
        channel=table(device_edge=1e6, edge_cloud=1e6),
        policy={"budget_s": 10.0},
        circulation=[{"modules": "head/*", "periods": {"edge": 1}}],
    )
    assert {m.name: m.periods for m in resolve(loaded, "network-aware").modules}["head/gqa"] == {"edge": 1}


@given(st.integers(1, 200))
def test_each_period_divides_the_one_before(longest):
    found = chain(longest)
    assert (found[0], found[-1]) == (longest, 1)
    assert all(a % b == 0 and a > b for a, b in pairwise(found))


def test_a_quarter_of_the_cost_of_the_case_study():
    """The shipped scenario, with the same payload on all sides."""
    loaded = shipped("quarter")
    most, *others = (price(resolve(loaded, method)) for method in loaded.methods)
    assert (most.latency_s, most.energy_j) == pytest.approx((9.587, 107.65), abs=0.01), "as published"
    for cost in others:
        assert cost.latency_s <= most.latency_s / 4
        assert cost.energy_j <= most.energy_j / 4
