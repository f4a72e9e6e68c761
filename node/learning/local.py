"""Local training and evaluation on one shard. Suffixes: B batch, N samples, E experts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from node.learning.shard import Shard
from node.model.heads import Head
from node.model.model import Model
from node.model.parameters import FlatParameters
from node.plan import TaskSpec, TrainingSpec

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Part:
    """One task of a device: its samples and its head."""

    task: TaskSpec
    head: Head
    train: Shard
    test: Shard
    baseline: float


def train(
    model: Model,
    part: Part,
    trained: Sequence[tuple[FlatParameters, torch.optim.Optimizer]],
    spec: TrainingSpec,
    rng: np.random.Generator,
) -> float:
    """Trains in place; returns the mean loss of the last epoch. `rng` gives the order of the samples."""
    shard, total = part.train, 0.0
    for _ in range(spec.epochs):
        total = 0.0
        order = rng.permutation(len(shard)).tolist()
        for start in range(0, len(order), spec.batch_size):
            places = order[start : start + spec.batch_size]
            labels_B = torch.from_numpy(shard.labels_N[places]).to(model.device)
            encoded = model.encode(shard.prepared(places), part.task)
            loss = part.head.loss(encoded, labels_B, model.head(part.task))
            for parameters, _ in trained:
                parameters.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for _, optimizer in trained:
                optimizer.step()
            total += loss.item() * len(places)
    return total / len(shard)


@torch.no_grad()
def right(model: Model, part: Part) -> NDArray[np.bool_]:
    """Of each test sample, whether it is answered right."""
    shard = part.test
    found = np.zeros(len(shard), np.bool_)
    for places in _batches(shard):
        encoded = model.encode(shard.prepared(places), part.task)
        labels_B = torch.from_numpy(shard.labels_N[places]).to(model.device)
        found[places] = part.head.right(encoded, labels_B, model.head(part.task)).cpu().numpy()
    return found


@torch.no_grad()
def relevance(model: Model, parts: Sequence[Part]) -> dict[int, float]:
    """By expert that is held: its share of this device's training samples, as the gate has it now."""
    total_E: Tensor | None = None
    for part in parts:
        for places in _batches(part.train):
            shares_BE = model.expert_shares(part.train.prepared(places), part.task)
            if shares_BE is not None:
                total_E = shares_BE.sum(0) if total_E is None else total_E + shares_BE.sum(0)
    if total_E is None:
        return {}
    return dict(zip(model.experts, (total_E / total_E.sum()).tolist(), strict=True))


def _batches(shard: Shard) -> list[list[int]]:
    starts = range(0, len(shard), EVALUATION_BATCH)
    return [list(range(start, min(start + EVALUATION_BATCH, len(shard)))) for start in starts]
