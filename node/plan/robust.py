"""Robust aggregation of a module, where a plan asks for it."""

from __future__ import annotations

from enum import StrEnum
from math import ceil
from typing import Annotated

from pydantic import Field

from node.plan.frozen import Frozen

_FEWEST = 3  # of two updates, nobody can tell which one lies


class RobustRule(StrEnum):
    """Sources: see node.aggregation.robust."""

    MEDIAN = "median"  # of each coordinate
    TRIMMED_MEAN = "trimmed-mean"  # of each coordinate, without its smallest and largest
    NORM_CLIP = "norm-clip"  # the weighted mean of steps of bounded length
    MULTI_KRUM = "multi-krum"  # the weighted mean of those that lie closest together


class Robust(Frozen):
    """How updates are combined where the mean would let one sender decide the result."""

    rule: RobustRule
    tiers: tuple[str, ...]  # where; the other tiers take the weighted mean
    trim: Annotated[float, Field(gt=0, lt=0.5)] = 0.2  # trimmed-mean: the share cut off at either end
    norm: Annotated[float, Field(gt=0)] | None = (
        None  # norm-clip: longest step; None: the median of all steps
    )
    liars: Annotated[int, Field(ge=1)] = 1  # multi-krum: f, how many may lie
    keep: Annotated[int, Field(ge=1)] | None = None  # multi-krum: m, how many are averaged; None: N - f

    @property
    def needs(self) -> int:
        """Updates without which there is no result: the module keeps its value."""
        if self.rule is RobustRule.MULTI_KRUM:
            return 2 * self.liars + 3  # Blanchard et al., Section 3: 2f + 2 < n
        return 1 if self.rule is RobustRule.NORM_CLIP and self.norm is not None else _FEWEST

    def trimmed(self, updates: int) -> int:
        """How many are cut off at either end, of so many."""
        return min(ceil(self.trim * updates), (updates - 1) // 2)
