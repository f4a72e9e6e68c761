"""Drift: what is seen once and not kept gives the distances that are defined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.aggregation import Drift, Update, combine


def updates(seed, count, size, step, base=1.0):
    rng = np.random.default_rng(seed)
    before = rng.normal(0, base, size).astype(np.float32)
    some = [
        Update((before + rng.normal(0, step, size)).astype(np.float32), float(w), (f"d{i}",))
        for i, w in enumerate(rng.integers(1, 90, count))
    ]
    return before, some


@given(
    st.integers(0, 2**32),
    st.integers(1, 6),
    st.integers(1, 200),
    st.sampled_from([1e-4, 1e-2, 1.0]),
    st.randoms(),
)
def test_the_distance_is_that_of_the_definition_in_any_order(seed, count, size, step, random):
    before, some = updates(seed, count, size, step)
    mean = combine(some).values
    drifts = Drift(before), Drift(before)
    for update in some:
        drifts[0].add(update)
    for update in random.sample(some, count):
        drifts[1].add(update)
    apart = drifts[0].around(mean)
    exact = np.average([u.values.astype(np.float64) for u in some], axis=0, weights=[u.weight for u in some])
    squares = [np.square(u.values - exact).sum() for u in some]
    assert apart.distance == pytest.approx(
        np.sqrt(np.average(squares, weights=[u.weight for u in some])), rel=0.02, abs=1e-4 * step
    )
    assert apart.norm == pytest.approx(np.linalg.norm(exact), rel=1e-5)
    assert apart == drifts[1].around(mean)


def test_small_steps_from_large_values_are_not_lost_in_them():
    """Summing squares of the values themselves would leave nothing of a distance of 1e-4 at a norm of 1e4."""
    before, some = updates(3, 4, 10_000, 1e-4, base=100.0)
    drift = Drift(before)
    for update in some:
        drift.add(update)
    values = np.array([u.values for u in some], np.float64)
    weights = [u.weight for u in some]
    centre = np.average(values, axis=0, weights=weights)
    exact = np.sqrt(np.average(np.square(values - centre).sum(axis=1), weights=weights))
    assert drift.around(combine(some).values).distance == pytest.approx(exact, rel=0.05)


def test_equal_updates_have_no_drift_and_one_sender_says_nothing():
    before, some = updates(1, 1, 50, 0.1)
    same = Update(some[0].values, 3.0, ("other",))
    drift = Drift(before)
    drift.add(some[0])
    assert drift.around(some[0].values).relative is None
    drift.add(same)
    assert drift.around(some[0].values).relative == pytest.approx(0, abs=1e-6)
