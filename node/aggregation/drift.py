"""How far apart the updates of one module are when they meet: how much the nodes below have drifted since they
last had the same version."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.aggregation.update import Update
from node.payload import Values

# Values at a time: the temporaries stay in the cache, and BLAS, which shares out dot products of more than 10,000
# values among threads, works in this one: they would take ten times as long as the sum.
_BLOCK = 4_096  # values at a time: the temporaries stay in the cache
_MOST_BLOCKS = (
    32  # about: what a policy decides by needs no more of a large module, and sums have their own work
)


@dataclass(frozen=True)
class Apart:
    """Euclidean, over all values of the module."""

    senders: int
    distance: float  # root mean square, by weight, of the updates' distances to their mean
    step: float  # of the mean, from what the senders started from
    norm: float  # of the mean itself

    @property
    def relative(self) -> float | None:
        """Distance as a share of the norm; None: one sender, or a module of zeros, says nothing."""
        return self.distance / self.norm if self.senders > 1 and self.norm > 0 else None


class Drift:
    """Sees each update once and keeps none.

    The sum of w |x - m|^2 is that of w |x - b|^2 less W |m - b|^2 for any b (Steiner's theorem). With b what the
    senders started from, both are of the size of a step and not of the values, so that little cancels (Chan, Golub
    and LeVeque, "Algorithms for computing the sample variance", The American Statistician 37, 1983: shifted data).
    """

    def __init__(self, before: Values) -> None:
        self._before_P = before
        self._weights: list[float] = []
        self._moments: list[float] = []

    def add(self, update: Update) -> None:
        self._weights.append(update.weight)
        self._moments.append(update.weight * _square(update.values, self._before_P))

    def around(self, mean: Values) -> Apart:
        """`mean`: the weighted mean of what was added. The same whatever the order of arrival."""
        step2 = _square(mean, self._before_P)
        weight = math.fsum(self._weights)
        variance = math.fsum([*self._moments, -weight * step2]) / weight
        norm = math.sqrt(_square(mean))
        return Apart(len(self._weights), math.sqrt(max(0.0, variance)), math.sqrt(step2), norm)


def _square(values: Values, origin: Values | None = None) -> float:
    """Squared distance from the origin given, in double precision; of large modules, from a part of them."""
    starts = _blocks(len(values))
    block: NDArray[np.float64] = np.empty(_BLOCK)
    total, looked_at = 0.0, 0
    for start in starts:
        part = values[start : start + _BLOCK]
        found = block[: len(part)]
        if origin is None:
            found[:] = part
        else:
            np.subtract(part, origin[start : start + _BLOCK], out=found, dtype=np.float64)
        total += float(np.square(found, out=found).sum())
        looked_at += len(part)
    return total * len(values) / max(1, looked_at)


def _blocks(size: int) -> range:
    """Where the blocks that are looked at start: all, or so many, spread evenly."""
    blocks = -(-size // _BLOCK)
    return range(0, size, _BLOCK * max(1, blocks // _MOST_BLOCKS))
