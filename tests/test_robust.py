"""Robust rules: free of order, as their papers define them, and deaf to a minority of liars."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.aggregation import Gathered, Update, combine
from node.errors import PayloadRefused
from node.plan import Robust, RobustRule

SIZE = 40_000  # more than a block
BEFORE = np.zeros(SIZE, np.float32)


def rule(name: str, **fields: object) -> Robust:
    return Robust(rule=RobustRule(name), tiers=("edge",), **fields)


RULES = [
    rule("median"),
    rule("trimmed-mean", trim=0.2),
    rule("norm-clip"),
    rule("norm-clip", norm=20.0),
    rule("multi-krum", liars=2),
    rule("multi-krum", liars=2, keep=1),
]
NAMES = [f"{r.rule}{'' if r.norm is None and r.keep is None else '-given'}" for r in RULES]


def honest(count: int = 8) -> list[Update]:
    rng = np.random.default_rng(1)
    target = rng.normal(0, 0.1, SIZE)
    return [
        Update(
            (target + rng.normal(0, 0.02, SIZE)).astype(np.float32), float(rng.integers(20, 60)), (f"d{i}",)
        )
        for i in range(count)
    ]


def lies(kind: str) -> list[Update]:
    """Two of ten."""
    rng = np.random.default_rng(2)
    truth = combine(honest()).values
    made = {
        "sign flip x10": -10 * truth,
        "random": rng.normal(0, 5, SIZE),
        "huge": np.full(SIZE, 1e4),
        "one coordinate": np.where(np.arange(SIZE) == 7, 1e5, truth),
    }[kind]
    return [Update(made.astype(np.float32), 60.0, (f"x{i}",)) for i in range(2)]


def gathered(robust: Robust, updates: list[Update]) -> Update:
    collection = Gathered(robust, BEFORE, 10)
    for update in updates:
        collection.add(update)
    assert not collection.lacking
    return collection.mean()


def rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))


@pytest.mark.parametrize("kind", ["sign flip x10", "random", "huge", "one coordinate"])
@pytest.mark.parametrize("robust", RULES, ids=NAMES)
def test_a_fifth_of_liars_spoils_the_mean_and_no_robust_rule(robust, kind):
    truth = combine(honest()).values
    spoilt = rms(combine([*honest(), *lies(kind)]).values - truth)
    held = rms(gathered(robust, [*honest(), *lies(kind)]).values - truth)
    assert spoilt > 0.1
    assert held < 0.07  # clipping bounds what liars do, the others leave them out
    assert held < spoilt / 2


@pytest.mark.parametrize("robust", RULES, ids=NAMES)
@given(random=st.randoms())
def test_any_order_gives_the_same_bits(robust, random):
    some = [Update(u.values[:500], u.weight, u.contributors) for u in (*honest(), *lies("random"))]
    shuffled = some[:]
    random.shuffle(shuffled)
    results = []
    for order in (some, shuffled):
        collection = Gathered(robust, BEFORE[:500], 10)
        for update in order:
            collection.add(update)
        mean = collection.mean()
        results.append((mean.values.tobytes(), mean.weight, mean.contributors))
    assert results[0] == results[1]


def test_median_and_trimmed_mean_are_those_of_each_coordinate():
    updates = honest(7)
    stacked = np.stack([u.values for u in updates]).astype(np.float64)
    np.testing.assert_array_equal(
        gathered(rule("median"), updates).values, np.median(stacked, axis=0).astype(np.float32)
    )
    trimmed = np.sort(stacked, axis=0)[2:-2].mean(axis=0)  # 0.2 x 7, rounded up, from either end
    np.testing.assert_allclose(
        gathered(rule("trimmed-mean", trim=0.2), updates).values, trimmed, rtol=0, atol=1e-7
    )


def test_krum_is_the_one_closest_to_its_neighbours():
    """Written down as in the paper: the smallest sum of squared distances to its n - f - 2 closest."""
    updates = [*honest(6), *lies("random")]
    vectors = [u.values.astype(np.float64) for u in updates]
    scores = [
        sum(sorted(float(((a - b) ** 2).sum()) for j, b in enumerate(vectors) if j != i)[: 8 - 2 - 2])
        for i, a in enumerate(vectors)
    ]
    chosen = updates[int(np.argmin(scores))]
    krum = gathered(rule("multi-krum", liars=2, keep=1), updates)
    assert krum.contributors == chosen.contributors
    np.testing.assert_allclose(krum.values, chosen.values, rtol=0, atol=1e-9)
    assert gathered(rule("multi-krum", liars=2), updates).contributors == tuple(f"d{i}" for i in range(6))


@given(length=st.floats(0.1, 50), weight=st.integers(1, 10**6))
def test_a_clipped_step_is_no_longer_than_the_norm(length, weight):
    far = Update(np.full(100, 1e3, np.float32), float(weight), ("d0",))
    collection = Gathered(rule("norm-clip", norm=length), np.ones(100, np.float32), 1)
    if weight * 1e3 < 2**30:
        collection.add(far)
        step = collection.mean().values.astype(np.float64) - 1
        assert math.isclose(float(np.linalg.norm(step)), length, rel_tol=1e-4)


@pytest.mark.parametrize(
    ("robust", "few"), [(rule("median"), 2), (rule("multi-krum", liars=2), 6), (rule("norm-clip"), 2)]
)
def test_too_few_updates_give_no_result(robust, few):
    collection = Gathered(robust, BEFORE, 10)
    for update in honest(few):
        collection.add(update)
    assert f"needs {few + 1} updates and has {few}" in collection.lacking


@pytest.mark.parametrize(
    ("values", "weight", "who", "why"),
    [
        ([1.0, math.nan], 1.0, "d1", "finite"),
        ([1.0, 2.0], 0.0, "d1", "weight"),
        ([1.0, 2.0], 1.0, "d0", "twice"),
        ([1e38, 2.0], 1e9, "d1", "range|over"),
    ],
)
def test_what_is_refused_leaves_the_others(values, weight, who, why):
    collection = Gathered(rule("norm-clip"), np.zeros(2, np.float32), 3)
    collection.add(Update(np.ones(2, np.float32), 1.0, ("d0",)))
    with pytest.raises(PayloadRefused, match=why):
        collection.add(Update(np.array(values, np.float32), weight, (who,)))
    assert collection.lacking.endswith("has 1")
