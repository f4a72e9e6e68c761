"""Which module is averaged where in which round: as planned, or as was decided on the way."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Annotated

from pydantic import Field

from node.plan.frozen import Frozen
from node.plan.modules import CLUSTER_TIER, Module
from node.plan.whole import Plan


class CirculationChange(Frozen):
    """From a round on, until the next change. Modules that are not named circulate as planned."""

    first_round: Annotated[int, Field(ge=0)]
    periods: dict[str, dict[str, Annotated[int, Field(ge=1)]]]  # module -> tier -> every how many rounds


class Circulation:
    """Asked by round, not by moment: whoever is late or begins anew gets the same answer as all others."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._changes: list[CirculationChange] = []  # in ascending order
        self._told_before = 0

    @property
    def changes(self) -> tuple[CirculationChange, ...]:
        return tuple(self._changes)

    def follow(self, change: CirculationChange) -> None:
        """Takes the place of what was said for its rounds before."""
        self._changes = [c for c in self._changes if c.first_round < change.first_round] + [change]

    def tell(self, before: int) -> None:
        """What holds in the rounds before this one is known here."""
        self._told_before = max(self._told_before, before)

    def is_known(self, round_index: int) -> bool:
        """A peer may have been told of a round before this node was."""
        return self._plan.policy is None or round_index < self._told_before

    def at(self, round_index: int) -> CirculationChange | None:
        """In force in this round; None: the plan."""
        return next((c for c in reversed(self._changes) if c.first_round <= round_index), None)

    def periods(self, module: Module, round_index: int) -> Mapping[str, int]:
        change = self.at(round_index)
        return module.periods if change is None else change.periods.get(module.name, module.periods)

    def due(self, module: Module, tier: str, round_index: int) -> bool:
        """Whether `tier` averages it at the end of this round."""
        period = self.periods(module, round_index).get(tier)
        return period is not None and (round_index + 1) % period == 0

    def over_d2d(self, module: Module, round_index: int) -> bool:
        """Whether it travels device to device to the cluster's head."""
        return CLUSTER_TIER in self.periods(module, round_index)

    def stride(self, tier: str, remaining: int, next_round: int) -> int:
        """Rounds that an aggregator of `tier` lets its children run before it acts again."""
        every = [self.periods(m, next_round) for m in self._plan.modules]
        found = [periods[tier] for periods in every if tier in periods]
        if not found:
            return remaining
        step = gcd(*found)
        return min(remaining, step - next_round % step)
