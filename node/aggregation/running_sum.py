"""The weighted mean: adds weights x means, adds weights and unites contributors, so that a relay, a head, an edge
server and a cloud share this code, and averaging in a tree agrees with averaging flat.

The running sum is exact: each product weight x value is rounded once to a grid of 2^-32 and added as a 64-bit
integer. Integer addition is associative, so the mean is the same whatever the order of arrival, without a
list of whole models in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from node.aggregation.update import Update, check_update
from node.errors import PayloadRefused

_GRID = 2.0**32  # steps per unit
# Adding 1.5 x 2^52 to a float64 leaves the nearest integer in its low mantissa bits (Knuth, TAOCP 4.2.2), so
# that adding the bit patterns adds the integers; the pattern's constant part is taken off at the end.
_MAGIC = 1.5 * 2.0**52
_MAGIC_BITS = int(np.float64(_MAGIC).view(np.int64))
_MAGIC_LIMIT = 2.0**51 / _GRID  # weight x value beyond which the trick does not hold
SUM_LIMIT = 2.0**62 / _GRID
_BLOCK = 32_768  # values at a time: the temporaries stay in the cache


class RunningSum:
    """Weighted sum of the updates of one module."""

    def __init__(self, size: int, senders: int = 1) -> None:
        """`senders`: how many may add to it; each has an equal share of its range, so that none can fill it."""
        self._sum_P = np.zeros(size, dtype=np.int64)
        self._magic_adds = 0
        self._bound = 0.0
        self._share = SUM_LIMIT / senders
        self._weights: list[float] = []
        self._contributors: set[str] = set()

    @property
    def empty(self) -> bool:
        return not self._weights

    @property
    def lacking(self) -> str:
        return "nothing could be added" if self.empty else ""

    def has_any(self, contributors: Iterable[str]) -> bool:
        """Whether one of these is in the sum already."""
        return not self._contributors.isdisjoint(contributors)

    def add(self, update: Update) -> None:
        """Adds one update, or raises PayloadRefused and leaves the sum as it was."""
        peak = update.weight * check_update(update, self._contributors)
        if peak >= self._share or self._bound + peak >= SUM_LIMIT:
            raise PayloadRefused(
                f"weight x value reaches {peak:.3g}, over the sum's range of {self._share:.3g}: "
                "clip the module or count samples in thousands"
            )
        self._accumulate(update, exact_bits=peak < _MAGIC_LIMIT)
        self._bound += peak
        self._weights.append(update.weight)
        self._contributors.update(update.contributors)

    def _accumulate(self, update: Update, exact_bits: bool) -> None:
        scale = update.weight * _GRID
        block = np.empty(min(_BLOCK, len(self._sum_P)), dtype=np.float64)
        for start in range(0, len(self._sum_P), _BLOCK):
            values = update.values[start : start + _BLOCK]
            scaled = block[: len(values)]
            np.multiply(values, scale, out=scaled, dtype=np.float64)  # else NumPy multiplies in float32
            if exact_bits:
                scaled += _MAGIC
                self._sum_P[start : start + _BLOCK] += scaled.view(np.int64)
            else:
                self._sum_P[start : start + _BLOCK] += np.rint(scaled).astype(np.int64)
        self._magic_adds += exact_bits

    def mean(self) -> Update:
        """The combined update. The sum must not be empty."""
        weight = math.fsum(self._weights)  # exactly rounded, so free of order too
        constant = (self._magic_adds * _MAGIC_BITS + 2**63) % 2**64 - 2**63
        total_P = self._sum_P - np.int64(constant)
        values = (total_P / (_GRID * weight)).astype(np.float32)
        return Update(values, weight, tuple(sorted(self._contributors)))


def combine(updates: Iterable[Update]) -> Update:
    """One update that stands for all; raises PayloadRefused when a contributor is in two of them."""
    total: RunningSum | None = None
    for update in updates:
        if total is None:
            total = RunningSum(len(update.values))
        total.add(update)
    if total is None:
        raise ValueError("nothing to combine")
    return total.mean()
