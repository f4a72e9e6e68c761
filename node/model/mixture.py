"""A mixture of experts on what is pooled. B samples, D pooled width, E experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

Tensors = Mapping[str, Tensor]


def shares(pooled_BD: Tensor, gate: Tensors, present: Sequence[int]) -> Tensor:
    """How much each expert that is there counts for each sample: [B, len(present)], rows adding up to 1."""
    return torch.softmax(F.linear(pooled_BD, gate["weight"][list(present)]), dim=-1)


def mix(pooled_BD: Tensor, gate: Tensors, experts: Mapping[int, Tensors]) -> Tensor:
    """What is pooled, with the experts' outputs added in their shares."""
    if not experts:
        return pooled_BD
    present = sorted(experts)
    shares_BE = shares(pooled_BD, gate, present)
    outputs = torch.stack([_expert(pooled_BD, experts[index]) for index in present], dim=1)
    return pooled_BD + torch.einsum("be,bed->bd", shares_BE, outputs)


def _expert(pooled_BD: Tensor, tensors: Tensors) -> Tensor:
    inner = F.relu(F.linear(pooled_BD, tensors["down.weight"], tensors["down.bias"]))
    return F.linear(inner, tensors["up.weight"], tensors["up.bias"])
