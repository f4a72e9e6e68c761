"""Who gets which samples. Pure: the same corpus, plan and seed give the same shards on every node.

Suffixes: N samples of a task, K devices, A answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.learning.corpus import Labels
from node.plan import PartitionSpec, Plan, TaskSpec
from node.randomness import generator

Indices = NDArray[np.int64]
Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Shards:
    """Indices into one corpus. Every sample is in exactly one shard of either kind."""

    train: tuple[Indices, ...]  # by device, each ascending
    test: tuple[Indices, ...]

    @property
    def all_train(self) -> Indices:
        return np.sort(np.concatenate(self.train))


def deal_task(plan: Plan, task: TaskSpec, labels_N: Labels) -> Shards:
    """Deals a task's samples to the devices that execute it; the others have none."""
    able = [place for place, d in enumerate(plan.devices) if plan.executes(d.id, task.name)]
    shares = [(plan.devices[place].task_shares or {}).get(task.name, 1.0) for place in able]
    weights_K = np.array(shares) if len(set(shares)) > 1 else None
    dealt = deal(labels_N, len(able), plan.partition, task.test_fraction, plan.seed, task.name, weights_K)
    none = np.empty(0, np.int64)

    def spread(parts: tuple[Indices, ...]) -> tuple[Indices, ...]:
        found = dict(zip(able, parts, strict=True))
        return tuple(found.get(place, none) for place in range(len(plan.devices)))

    return Shards(spread(dealt.train), spread(dealt.test))


def deal(
    labels_N: Labels,
    devices: int,
    spec: PartitionSpec,
    test_fraction: float,
    seed: int,
    task: str,
    weights_K: Weights | None = None,
) -> Shards:
    """Splits a corpus into training and test samples and deals both to the devices.

    At least one sample is for testing and one for training. A device may end up with none of either. `weights_K`:
    how much each is to have in proportion; None: all the same.
    """
    total = len(labels_N)
    order = generator(seed, "split", task).permutation(total)
    tests = min(max(round(total * test_fraction), 1), total - 1)
    test, train = order[:tests], np.sort(order[tests:])
    rng = generator(seed, "partition", task)
    if spec.kind == "iid":
        dealt = _split(rng.permutation(train), devices, weights_K)
    else:
        dealt = dirichlet(train, labels_N[train], devices, spec.concentration, rng, weights_K)
    return Shards(_ascending(dealt), _ascending(np.array_split(test, devices)))


def dirichlet(
    indices_N: Indices,
    labels_N: Labels,
    devices: int,
    concentration: float,
    rng: np.random.Generator,
    weights_K: Weights | None = None,
) -> list[Indices]:
    """Deals the samples of each answer in shares from Dirichlet(concentration) (Hsu et al., arXiv 1909.06335).

    No library is used: flwr-datasets, the best kept one, partitions Hugging Face data sets only and brings pyarrow
    and pandas, and it redraws until each device has samples, where an empty one is a case that rounds must bear.
    """
    dealt: list[list[Indices]] = [[] for _ in range(devices)]
    for label in np.unique(labels_N):
        ours = rng.permutation(indices_N[labels_N == label])
        shares_K = rng.dirichlet(np.full(devices, concentration))
        if weights_K is not None:
            shares_K = _weighted(shares_K, weights_K)
        cuts = np.rint(np.cumsum(shares_K)[:-1] * len(ours)).astype(np.int64)
        for device, part in enumerate(np.split(ours, cuts)):
            dealt[device].append(part)
    return [np.concatenate(parts) for parts in dealt]


def _weighted(shares_K: Weights, weights_K: Weights) -> Weights:
    """Shares in proportion to both; those of `weights_K` alone where the two have nothing in common."""
    both_K: Weights = shares_K * weights_K
    found_K: Weights = both_K if both_K.sum() > 0 else weights_K
    return np.asarray(found_K / found_K.sum())


def _split(indices_N: Indices, devices: int, weights_K: Weights | None) -> list[Indices]:
    if weights_K is None:
        return np.array_split(indices_N, devices)
    cuts = np.rint(np.cumsum(weights_K / weights_K.sum())[:-1] * len(indices_N)).astype(np.int64)
    return np.split(indices_N, cuts)


def _ascending(parts: list[Indices]) -> tuple[Indices, ...]:
    return tuple(np.sort(part).astype(np.int64) for part in parts)
