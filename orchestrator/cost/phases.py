"""A plan whose heads take turns, or whose graph moves, as the plans of its parts: in each, nothing changes."""

from __future__ import annotations

from itertools import pairwise
from math import lcm

from node.plan import Plan


def phases(plan: Plan) -> list[tuple[Plan, float]]:
    """Each with its share of the rounds: of those after which everything repeats, or else of the plan's."""
    turning = [c for c in plan.clusters if c.turns]
    if not turning and not plan.moves:
        return [(plan, 1.0)]
    repeats = [c.repeats_after for c in turning if c.repeats_after]
    horizon = lcm(*repeats) if len(repeats) == len(turning) and not plan.moves else plan.rounds
    starts = {0, *(move.first_round for move in plan.moves)}
    for cluster in turning:
        every = cluster.repeats_after or horizon
        starts |= {base + t.first_round for base in range(0, horizon, every) for t in cluster.turns}
    cuts = [*sorted(s for s in starts if s < horizon), horizon]
    return [(at_round(plan, a), (b - a) / horizon) for a, b in pairwise(cuts)]


def at_round(plan: Plan, round_index: int) -> Plan:
    """As it is in this round, for good."""
    links = tuple(plan.link_at(k.src, k.dst, round_index) for k in plan.links)
    return plan.replace(
        clusters=tuple(c.at(round_index) for c in plan.clusters),
        links=tuple(k for k in links if k is not None),
        moves=(),
    )
