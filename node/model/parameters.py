"""A module's tensors as torch parameters that share one flat vector, and their gradients another.

So nothing is copied tensor by tensor: what arrives is one vector, the optimizer steps one vector, and what is sent
is that vector again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from node.model.schema import Flat, tensor_views
from node.plan import Module


class FlatParameters:
    """One module, ready to be trained. The values that came in are left alone."""

    def __init__(self, module: Module, values_P: Flat) -> None:
        self.values: Flat = values_P.astype("float32", copy=True)
        gradient_P = self.values * 0
        self.flat_P = torch.from_numpy(self.values)
        self.flat_P.grad = torch.from_numpy(gradient_P)
        self.tensors: dict[str, Tensor] = {}
        views = zip(tensor_views(module, self.values), tensor_views(module, gradient_P), strict=True)
        for (name, value), (_, gradient) in views:
            leaf = torch.from_numpy(value).requires_grad_()
            leaf.grad = torch.from_numpy(gradient)  # backward adds to it in place, hence to the flat gradient
            self.tensors[name] = leaf

    def optimizer(self, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
        """AdamW is elementwise: stepping the flat vector is stepping each tensor."""
        return torch.optim.AdamW([self.flat_P], learning_rate, weight_decay=weight_decay, fused=True)

    def zero_grad(self) -> None:
        if self.flat_P.grad is not None:
            self.flat_P.grad.zero_()
