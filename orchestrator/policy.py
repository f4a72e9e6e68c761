"""The policy `network-aware`: how often, how far up and by which way each module is averaged, under a budget.

Every module begins on its rarest circulation: its cluster averages it every `longest` rounds, nobody above does.
Then one step after the other is taken, each to the next shorter period of one module at one tier: where the drift
that is expected until the next average is largest, and above the tolerance. A tier that never averages counts as
twice the longest period. Of each module the cheaper way is taken, over the uplink or device to device. The first
step beyond the budget is not taken, and none after it.

The order of the steps depends on drift alone. So a larger budget never makes any module rarer, and a slower link
never makes one more frequent but for a change of ways. Periods are a chain in which each divides the next, so that
after `longest` rounds all tiers have averaged all that they average, and everybody may change over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

from node.plan import CLUSTER_TIER, Plan, Policy, Role
from orchestrator.cost.pricing import Cost, price

Periods = dict[str, int]  # tier -> every how many rounds
Rates = Mapping[tuple[str, str], float]  # module, tier -> drift per round, as a share of the norm
Ladder = tuple[int | None, ...]  # of one module, from the lowest tier up; None: never


@dataclass(frozen=True)
class Decision:
    """From `first_round` on, until the next one."""

    first_round: int
    periods: dict[str, Periods]  # module -> its circulation
    latency_s: float
    energy_j: float
    feasible: bool  # whether the budget is held
    reasons: dict[str, str] = field(
        default_factory=dict
    )  # module -> why it is averaged so often and not more
    stopped: str = ""  # why no more steps were taken


@dataclass(frozen=True)
class _Step:
    module: str
    tier: str
    period: int
    expected: float  # drift until the next average, before the step
    ladder: Ladder

    def __str__(self) -> str:
        return f"{self.module} every {self.period} at {self.tier}"


def decide(
    plan: Plan, policy: Policy, modules: Sequence[str], rates: Rates, first_round: int = 0
) -> Decision:
    """The circulation of these modules; the others keep theirs. The same inputs give the same decision.

    rates: as far as they were measured. What was not counts as the largest that was, where each child of a tier
    stands for n devices that learn independently of each other: then their mean drifts by a root of n less.
    """
    tiers = tiers_of(plan)
    roots = _roots(plan, tiers)
    known = {(m, t): r for (m, t), r in rates.items() if m in modules and t in tiers}
    default = max((rate * roots[t] for (_, t), rate in known.items()), default=1.0)
    every = {(m, t): known.get((m, t), default / roots[t]) for m in modules for t in tiers}
    now = _Course(plan, policy, tiers)
    for name in modules:
        now = now.cheapest(name, (policy.longest, *[None] * (len(tiers) - 1)))
    feasible = now.spent <= policy.budget
    stopped = "" if feasible else f"even the rarest circulation takes {now.spent:.3g} {policy.unit}"
    last: dict[str, _Step] = {}
    for step in _steps(policy, modules, tiers, every) if feasible else ():
        tried = now.cheapest(step.module, step.ladder)
        if tried.spent > policy.budget:
            stopped = f"{step} would take {tried.spent:.4g} of {policy.budget:g} {policy.unit}"
            break
        now, last[step.module] = tried, step
    return Decision(
        first_round=first_round,
        periods={name: now.periods[name] for name in modules},
        latency_s=now.cost.latency_s,
        energy_j=now.cost.energy_j,
        feasible=feasible,
        reasons={
            name: _reason(policy, name, every, known, now.ladders[name], name in last) for name in modules
        },
        stopped=stopped or "no module is expected to drift beyond the tolerance",
    )


def under(plan: Plan, periods: Mapping[str, Periods]) -> Plan:
    """The plan with this circulation of some modules."""
    modules = tuple(
        m.model_copy(update={"periods": dict(periods[m.name])}) if m.name in periods else m
        for m in plan.modules
    )
    return plan.replace(modules=modules)


def tiers_of(plan: Plan) -> list[str]:
    """Of aggregators, from the lowest up."""
    heights = {n.tier: plan.height(n.id) for n in plan.nodes if n.role is not Role.DEVICE}
    return sorted(heights, key=lambda tier: heights[tier])


def _roots(plan: Plan, tiers: Sequence[str]) -> dict[str, float]:
    """Tier -> square root of the devices behind each of its children, on average."""
    counts = [sum(n.tier == tier for n in plan.nodes) for tier in tiers]
    below = [len(plan.devices), *counts]
    return {tier: sqrt(len(plan.devices) / children) for tier, children in zip(tiers, below, strict=False)}


def chain(longest: int) -> list[int]:
    """Periods from the longest down to 1, each dividing the one before."""
    found = [longest]
    while found[-1] > 1:
        found.append(next(found[-1] // f for f in range(2, found[-1] + 1) if found[-1] % f == 0))
    return found


def _steps(policy: Policy, modules: Sequence[str], tiers: Sequence[str], rates: Rates) -> Iterator[_Step]:
    """Without an end in the budget: by drift alone."""
    ladders: dict[str, list[int | None]] = {m: [policy.longest, *[None] * (len(tiers) - 1)] for m in modules}
    shorter = dict(zip(links := chain(policy.longest), links[1:], strict=False))
    while True:
        open_steps = [
            (rates[m, t] * (p or 2 * policy.longest), -level, -place)
            for place, m in enumerate(modules)
            for level, (t, p) in enumerate(zip(tiers, ladders[m], strict=True))
            if p != 1 and (level == 0 or ladders[m][level - 1] is not None)
        ]
        expected, level, place = max(open_steps, default=(0.0, 0, 0))
        if not open_steps or expected <= policy.tolerance:
            return
        name, ladder = modules[-place], ladders[modules[-place]]
        period = shorter[p] if (p := ladder[-level]) is not None else policy.longest
        ladder[-level] = period
        for below in range(-level):  # which cannot be averaged above more often than below
            ladder[below] = min(period, ladder[below] or period)
        yield _Step(name, tiers[-level], period, expected, tuple(ladder))


@dataclass(frozen=True)
class _Course:
    """A circulation of all modules, and what it costs."""

    plan: Plan
    policy: Policy
    tiers: Sequence[str]
    periods: dict[str, Periods] = field(default_factory=dict)
    ladders: dict[str, Ladder] = field(default_factory=dict)
    cost: Cost = field(default_factory=lambda: Cost(0.0, 0.0))

    @property
    def spent(self) -> float:
        return self.cost.latency_s if self.policy.budget_s is not None else self.cost.energy_j

    def cheapest(self, name: str, ladder: Ladder) -> _Course:
        """With this ladder of one module, by the cheaper way."""
        ways = [self._with(name, ladder, _by_uplink(ladder, self.tiers))]
        if self.plan.clusters:
            ways.append(self._with(name, ladder, _by_d2d(ladder, self.tiers)))
        return min(ways, key=lambda way: way.spent)

    def _with(self, name: str, ladder: Ladder, periods: Periods) -> _Course:
        every = {**self.periods, name: periods}
        ladders = {**self.ladders, name: ladder}
        return _Course(self.plan, self.policy, self.tiers, every, ladders, price(under(self.plan, every)))


def _by_uplink(ladder: Ladder, tiers: Sequence[str]) -> Periods:
    return {tier: p for tier, p in zip(tiers, ladder, strict=True) if p is not None}


def _by_d2d(ladder: Ladder, tiers: Sequence[str]) -> Periods:
    """The cluster averages in the place of the lowest tier, which is asked only as often as the one above it."""
    above = [ladder[1] if len(ladder) > 1 else None, *ladder[1:]]
    return {CLUSTER_TIER: ladder[0] or 1, **_by_uplink(tuple(above), tiers)}


def _reason(policy: Policy, name: str, rates: Rates, known: Rates, ladder: Ladder, stepped: bool) -> str:
    """Expected drift at each tier, beside what is tolerated. `rates` has the tiers of each module from below."""
    said = []
    for tier, p in zip((t for m, t in rates if m == name), ladder, strict=True):
        amount = "never" if p is None else f"{100 * rates[name, tier] * p:.3g} %"
        said.append(f"{tier} {amount}" + ("" if (name, tier) in known else " (not measured)"))
    tolerated = f"{100 * policy.tolerance:g} % tolerated"
    return f"expected drift: {', '.join(said)}; {tolerated}" + ("" if stepped else "; on its rarest")
