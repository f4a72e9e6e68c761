"""Local training and evaluation on one shard. Suffixes: B batch, A answers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from node.learning.shard import Shard
from node.model.frozen import FrozenVilt
from node.model.parameters import FlatParameters
from node.plan import TrainingSpec

EVALUATION_BATCH = 64


def logits(frozen: FrozenVilt, tokens: list[Tensor], adapter: FlatParameters, head: FlatParameters) -> Tensor:
    """Scores [B, A] of the answers."""
    pooled_BD = frozen.pooled(tokens, adapter.tensors)
    return F.linear(pooled_BD, head.tensors["weight"], head.tensors["bias"])


def train(
    frozen: FrozenVilt,
    shard: Shard,
    adapter: FlatParameters,
    head: FlatParameters,
    adapter_optimizer: torch.optim.Optimizer,
    spec: TrainingSpec,
    rng: np.random.Generator,
) -> float:
    """Trains both in place; returns the mean loss of the last epoch. `rng` gives the order of the samples."""
    head_optimizer = head.optimizer(spec.learning_rate, spec.weight_decay)
    total = 0.0
    for _ in range(spec.epochs):
        total = 0.0
        order = rng.permutation(len(shard)).tolist()
        for start in range(0, len(order), spec.batch_size):
            places = order[start : start + spec.batch_size]
            labels_B = torch.from_numpy(shard.labels_N[places])
            loss = F.cross_entropy(logits(frozen, shard.tokens(places), adapter, head), labels_B)
            adapter.zero_grad()
            head.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adapter_optimizer.step()
            head_optimizer.step()
            total += loss.item() * len(places)
    return total / len(shard)


@torch.no_grad()
def right(
    frozen: FrozenVilt, shard: Shard, adapter: FlatParameters, head: FlatParameters
) -> NDArray[np.bool_]:
    """Of each sample of the shard, whether it is answered right."""
    found = np.zeros(len(shard), np.bool_)
    for start in range(0, len(shard), EVALUATION_BATCH):
        places = list(range(start, min(start + EVALUATION_BATCH, len(shard))))
        guesses_B = logits(frozen, shard.tokens(places), adapter, head).argmax(1).numpy()
        found[places] = guesses_B == shard.labels_N[places]
    return found
