"""Robust rules: what a minority of lying senders can do to the result is bounded.

Sources: coordinate-wise median and trimmed mean, Yin et al., "Byzantine-Robust Distributed Learning: Towards
Optimal Statistical Rates", ICML 2018, Definitions 1 and 2; Krum and Multi-Krum, Blanchard et al., "Machine Learning
with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS 2017, Sections 3 and 4; clipping of norms, Sun et
al., "Can You Really Backdoor Federated Learning?", 2019, Section 4.

Unlike a sum, they need every update by itself: N updates of P values are 4 N P bytes until the round is closed.
Updates are put in order of their contributors first, so that the result does not depend on who came first.
Shape suffixes: N updates, P values, B values of one block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from node.aggregation.running_sum import SUM_LIMIT, RunningSum, combine
from node.aggregation.update import Update, check_update
from node.errors import PayloadRefused
from node.payload import Values
from node.plan import Robust, RobustRule

_BLOCK = 32_768  # values at a time, of all updates


class Gathered:
    """A `Collection` that keeps every update of one module until its round is closed."""

    def __init__(self, rule: Robust, before: Values, senders: int) -> None:
        self._rule = rule
        self._share = SUM_LIMIT / senders
        self._before_P = before
        self._updates: list[Update] = []
        self._contributors: set[str] = set()

    @property
    def lacking(self) -> str:
        count, needed = len(self._updates), self._rule.needs
        return f"{self._rule.rule} needs {needed} updates and has {count}" if count < needed else ""

    def add(self, update: Update) -> None:
        peak = update.weight * check_update(update, self._contributors)
        if self._rule.rule in (RobustRule.NORM_CLIP, RobustRule.MULTI_KRUM) and peak >= self._share:
            raise PayloadRefused(f"weight x value reaches {peak:.3g}, over the sum's {self._share:.3g}")
        self._updates.append(update)
        self._contributors.update(update.contributors)

    def has_any(self, contributors: Iterable[str]) -> bool:
        """Whether one of these is in it already."""
        return not self._contributors.isdisjoint(contributors)

    def mean(self) -> Update:
        updates = sorted(self._updates, key=lambda u: u.contributors)
        rule = self._rule
        if rule.rule is RobustRule.MULTI_KRUM:
            return combine(_selected(updates, rule))
        if rule.rule is RobustRule.NORM_CLIP:
            return _clipped(updates, self._before_P, rule.norm)
        cut = 0 if rule.rule is RobustRule.MEDIAN else rule.trimmed(len(updates))
        values_P = _by_coordinate(updates, cut)
        everybody = tuple(sorted(self._contributors))
        return Update(values_P, math.fsum(u.weight for u in updates), everybody)


def _by_coordinate(updates: Sequence[Update], cut: int) -> Values:
    """Mean of what is left when the `cut` smallest and largest of each coordinate are gone; 0: the median.

    Each update counts once, whatever its weight: a liar would claim the largest.
    """
    found_P = np.empty(len(updates[0].values), np.float32)
    for start in range(0, len(found_P), _BLOCK):
        block_NB = np.stack([u.values[start : start + _BLOCK] for u in updates]).astype(np.float64)
        if cut == 0:
            middle_B = np.median(block_NB, axis=0)
        else:
            block_NB.sort(axis=0)
            middle_B = block_NB[cut:-cut].mean(axis=0)
        found_P[start : start + _BLOCK] = middle_B
    return found_P


def _clipped(updates: Sequence[Update], before_P: Values, norm: float | None) -> Update:
    """The weighted mean of steps away from `before`, none longer than `norm`; None: than the median of all."""
    lengths = [_length(u.values, before_P) for u in updates]
    most = float(np.median(lengths)) if norm is None else norm
    total = RunningSum(len(before_P))
    for update, length in zip(updates, lengths, strict=True):
        values_P = update.values
        if length > most:
            step_P = values_P.astype(np.float64) - before_P
            values_P = (before_P + step_P * (most / length)).astype(np.float32)
        total.add(Update(values_P, update.weight, update.contributors))
    return total.mean()


def _selected(updates: Sequence[Update], rule: Robust) -> list[Update]:
    """Multi-Krum: those with the smallest sums of squared distances to their N - f - 2 nearest."""
    count, liars = len(updates), rule.liars
    squares_NN = _squared_distances(updates)
    nearest_NN = np.sort(squares_NN, axis=1)[:, 1 : count - liars - 1]  # the first is its own, 0
    scores = nearest_NN.sum(axis=1)
    keep = min(rule.keep or count - liars, count - liars)
    order = sorted(range(count), key=lambda i: (scores[i], updates[i].contributors))
    return [updates[i] for i in sorted(order[:keep])]


def _squared_distances(updates: Sequence[Update]) -> NDArray[np.float64]:
    found_NN = np.zeros((len(updates), len(updates)))
    for start in range(0, len(updates[0].values), _BLOCK):
        block_NB = np.stack([u.values[start : start + _BLOCK] for u in updates]).astype(np.float64)
        for i, one_B in enumerate(block_NB):
            found_NN[i] += np.square(block_NB - one_B).sum(axis=1)
    return found_NN


def _length(values_P: Values, before_P: Values) -> float:
    """Euclidean."""
    squares = 0.0
    for start in range(0, len(values_P), _BLOCK):
        step_B = values_P[start : start + _BLOCK].astype(np.float64) - before_P[start : start + _BLOCK]
        squares += float(np.square(step_B).sum())
    return math.sqrt(squares)
