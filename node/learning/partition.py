"""Who gets which samples. Pure: the same corpus, plan and seed give the same shards on every node.

Suffixes: N samples of a task, K devices, A answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.learning.corpus import Labels
from node.plan import PartitionSpec
from node.randomness import generator

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Shards:
    """Indices into one corpus. Every sample is in exactly one shard of either kind."""

    train: tuple[Indices, ...]  # by device, each ascending
    test: tuple[Indices, ...]

    @property
    def all_train(self) -> Indices:
        return np.sort(np.concatenate(self.train))


def deal(
    labels_N: Labels, devices: int, spec: PartitionSpec, test_fraction: float, seed: int, task: str
) -> Shards:
    """Splits a corpus into training and test samples and deals both to the devices.

    At least one sample is for testing and one for training. A device may end up with none of either.
    """
    total = len(labels_N)
    order = generator(seed, "split", task).permutation(total)
    tests = min(max(round(total * test_fraction), 1), total - 1)
    test, train = order[:tests], np.sort(order[tests:])
    rng = generator(seed, "partition", task)
    if spec.kind == "iid":
        dealt = np.array_split(rng.permutation(train), devices)
    else:
        dealt = dirichlet(train, labels_N[train], devices, spec.concentration, rng)
    return Shards(_ascending(dealt), _ascending(np.array_split(test, devices)))


def dirichlet(
    indices_N: Indices, labels_N: Labels, devices: int, concentration: float, rng: np.random.Generator
) -> list[Indices]:
    """Deals the samples of each answer in shares from Dirichlet(concentration) (Hsu et al., arXiv 1909.06335).

    No library is used: flwr-datasets, the best kept one, partitions Hugging Face data sets only and brings pyarrow
    and pandas, and it redraws until each device has samples, where an empty one is a case that rounds must bear.
    """
    dealt: list[list[Indices]] = [[] for _ in range(devices)]
    for label in np.unique(labels_N):
        ours = rng.permutation(indices_N[labels_N == label])
        shares_K = rng.dirichlet(np.full(devices, concentration))
        cuts = np.rint(np.cumsum(shares_K)[:-1] * len(ours)).astype(np.int64)
        for device, part in enumerate(np.split(ours, cuts)):
            dealt[device].append(part)
    return [np.concatenate(parts) for parts in dealt]


def _ascending(parts: list[Indices]) -> tuple[Indices, ...]:
    return tuple(np.sort(part).astype(np.int64) for part in parts)
