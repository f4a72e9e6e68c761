"""Who gets which samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.learning.partition import deal
from node.plan import PartitionSpec

LABELS = np.arange(2000) % 20


@given(
    samples=st.integers(2, 300),
    answers=st.integers(1, 12),
    devices=st.integers(1, 50),
    kind=st.sampled_from(["dirichlet", "iid"]),
    concentration=st.floats(1e-3, 1e3),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_every_sample_goes_to_exactly_one_device(
    samples: int, answers: int, devices: int, kind: str, concentration: float, fraction: float, seed: int
) -> None:
    spec = PartitionSpec.model_validate({"kind": kind, "concentration": concentration})
    shards = deal(np.arange(samples) % answers, devices, spec, fraction, seed, "t")
    assert len(shards.train) == len(shards.test) == devices
    everything = np.concatenate([*shards.train, *shards.test])
    assert sorted(everything.tolist()) == list(range(samples))
    assert len(shards.all_train) >= 1
    assert sum(map(len, shards.test)) >= 1


def test_the_same_seed_and_task_deal_the_same() -> None:
    def dealt(seed: int, task: str) -> list[list[int]]:
        return [part.tolist() for part in deal(LABELS, 8, PartitionSpec(), 0.1, seed, task).train]

    assert dealt(1, "gqa") == dealt(1, "gqa")
    assert dealt(1, "gqa") != dealt(2, "gqa")
    assert dealt(1, "gqa") != dealt(1, "art")


@pytest.mark.parametrize(("concentration", "least", "most"), [(0.1, 0.4, 1.0), (100.0, 0.05, 0.15)])
def test_a_low_concentration_gives_devices_few_answers(
    concentration: float, least: float, most: float
) -> None:
    """Measured by the share of a device's most frequent answer; with all answers alike it is 0.05."""
    shards = deal(LABELS, 10, PartitionSpec(concentration=concentration), 0.1, 0, "gqa")
    shares = [np.bincount(LABELS[part]).max() / len(part) for part in shards.train if len(part) >= 10]
    assert least < np.mean(shares) < most


def test_with_more_devices_than_samples_some_have_none() -> None:
    shards = deal(np.zeros(5, np.int64), 40, PartitionSpec(), 0.2, 0, "t")
    assert {len(part) for part in shards.test} == {0, 1}
    assert min(len(part) for part in shards.train) == 0


def test_test_shards_are_of_one_size_and_of_all_answers() -> None:
    shards = deal(LABELS, 4, PartitionSpec(), 0.4, 0, "gqa")
    assert [len(part) for part in shards.test] == [200] * 4
    assert all(len(np.unique(LABELS[part])) == 20 for part in shards.test)
