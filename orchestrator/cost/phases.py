"""A plan whose heads take turns, or whose links move, as what it is in each round."""

from __future__ import annotations

from itertools import pairwise
from math import lcm

from node.plan import Plan


def by_round(plan: Plan) -> list[tuple[Plan, int | None]]:
    """The plan of each round, in which nothing changes: of the rounds after which everything repeats, or else of
    all the plan's. A plan that never changes stands for all rounds, as None."""
    turning = [c for c in plan.clusters if c.turns]
    if not turning and not plan.moves:
        return [(plan, None)]
    repeats = [c.repeats_after for c in turning if c.repeats_after]
    horizon = lcm(*repeats) if len(repeats) == len(turning) and not plan.moves else plan.rounds
    starts = {0, *(move.first_round for move in plan.moves)}
    for cluster in turning:
        every = cluster.repeats_after or horizon
        starts |= {base + t.first_round for base in range(0, horizon, every) for t in cluster.turns}
    cuts = [*sorted(s for s in starts if s < horizon), horizon]
    parts = ((at_round(plan, a), range(a, b)) for a, b in pairwise(cuts))
    return [(part, r) for part, rounds in parts for r in rounds]


def at_round(plan: Plan, round_index: int) -> Plan:
    """As it is in this round, for good."""
    links = tuple(plan.link_at(k.src, k.dst, round_index) for k in plan.links)
    return plan.replace(
        clusters=tuple(c.at(round_index) for c in plan.clusters),
        links=tuple(k for k in links if k is not None),
        moves=(),
    )


def own_rounds(plan: Plan, tier: str, rounds: range) -> list[range]:
    """`rounds` cut after each one in which `tier` averages some module; the last part may be cut short."""
    ends = [r + 1 for r in rounds if any(m.due(tier, r) for m in plan.modules)]
    cuts = sorted({rounds.start, *ends, rounds.stop})
    return [range(a, b) for a, b in pairwise(cuts)]
