"""Sums: exact, the same in any order, and closed to what would spoil them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.aggregation import RunningSum, Update, combine
from node.errors import PayloadRefused

SIZES = st.integers(1, 50)


def updates(draw_seed: int, count: int, size: int, scale: float = 1.0) -> list[Update]:
    rng = np.random.default_rng(draw_seed)
    return [
        Update(
            (scale * rng.normal(0, 1, size)).astype(np.float32), float(rng.integers(1, 2000)), (f"d{i:03}",)
        )
        for i in range(count)
    ]


@given(st.integers(0, 2**32), st.integers(2, 7), SIZES, st.randoms())
def test_any_order_gives_the_same_bits(seed, count, size, random):
    some = updates(seed, count, size)
    shuffled = some[:]
    random.shuffle(shuffled)
    first, second = combine(some), combine(shuffled)
    assert first.values.tobytes() == second.values.tobytes()
    assert (first.weight, first.contributors) == (second.weight, second.contributors)


@given(st.integers(0, 2**32), st.integers(2, 9), SIZES, st.integers(1, 8))
def test_a_tree_of_averages_is_the_flat_average(seed, count, size, cut):
    some = updates(seed, count, size)
    parts = [p for p in (some[:cut], some[cut:]) if p]
    flat, tree = combine(some), combine([combine(p) for p in parts])
    np.testing.assert_allclose(tree.values, flat.values, rtol=3e-7, atol=1e-7)
    assert tree.weight == flat.weight
    assert tree.contributors == flat.contributors


@given(st.integers(0, 2**32), st.sampled_from([1e-6, 1e-3, 1.0, 200.0, 1e4]))
def test_the_mean_is_that_of_double_precision(seed, scale):
    some = updates(seed, 5, 40, scale)
    total = math.fsum(u.weight for u in some)
    expected = sum(u.values.astype(np.float64) * u.weight for u in some) / total
    np.testing.assert_allclose(combine(some).values, expected, rtol=2e-7, atol=2e-10)


def test_large_values_take_the_same_grid_as_small_ones():
    """Past the range of the fast path the sum is still exact, and still without an order."""
    some = [
        *updates(1, 3, 10, 1e5),
        *(Update(u.values, u.weight, (f"e{i}",)) for i, u in enumerate(updates(2, 3, 10))),
    ]
    results = {combine(list(order)).values.tobytes() for order in itertools.permutations(some)}
    assert len(results) == 1


@pytest.mark.parametrize(
    ("values", "weight", "why"),
    [
        ([1.0, math.nan], 1.0, "finite"),
        ([1.0, -math.inf], 1.0, "finite"),
        ([1.0, 2.0], 0.0, "weight"),
        ([1.0, 2.0], -1.0, "weight"),
        ([1.0, 2.0], math.nan, "weight"),
        ([1.0, 2.0], math.inf, "weight"),
        ([3e38, 0.0], 1e9, "range"),
    ],
)
def test_what_is_refused_leaves_the_sum_as_it_was(values, weight, why):
    total = RunningSum(2)
    total.add(Update(np.array([1, 2], np.float32), 3.0, ("d0",)))
    with pytest.raises(PayloadRefused, match=why):
        total.add(Update(np.array(values, np.float32), weight, ("d1",)))
    mean = total.mean()
    assert (mean.values.tolist(), mean.weight, mean.contributors) == ([1.0, 2.0], 3.0, ("d0",))


def test_nobody_counts_twice():
    total = RunningSum(1)
    total.add(Update(np.ones(1, np.float32), 1.0, ("d0", "d1")))
    with pytest.raises(PayloadRefused, match="'d1' is already"):
        total.add(Update(np.ones(1, np.float32), 1.0, ("d1", "d2")))
