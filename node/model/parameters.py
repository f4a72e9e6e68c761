"""A module's tensors as torch parameters that share one flat vector, and their gradients another.

So nothing is copied tensor by tensor: what arrives is one vector, the optimizer steps one vector, and what is sent
is that vector again.
"""

from __future__ import annotations

import torch
from torch import nn

from node.model.placement import CPU
from node.model.schema import Flat
from node.plan import Module


class FlatParameters:
    """One module, ready to be trained. The values that came in are left alone.

    `base_P`: what the values are the difference from, for layers of the backbone. `trained`: False, if it only
    serves.
    """

    def __init__(
        self,
        module: Module,
        values_P: Flat,
        base_P: Flat | None = None,
        *,
        trained: bool = True,
        device: torch.device = CPU,
    ) -> None:
        self._base_P = base_P
        whole_P: Flat = values_P.astype("float32", copy=True)
        if base_P is not None:
            whole_P += base_P
        self.trained = trained
        self.flat_P = torch.from_numpy(whole_P).to(device)  # on the CPU, the same memory
        gradient_P = torch.zeros_like(self.flat_P)
        self.flat_P.grad = gradient_P
        self.tensors: dict[str, nn.Parameter] = {}
        sizes = [tensor.size for tensor in module.tensors]
        views = zip(
            module.tensors, torch.split(self.flat_P, sizes), torch.split(gradient_P, sizes), strict=True
        )
        for tensor, value, gradient in views:
            leaf = nn.Parameter(value.view(tensor.shape), requires_grad=trained)
            if trained:
                leaf.grad = gradient.view(tensor.shape)  # backward adds to it, hence to the flat gradient
            self.tensors[tensor.name] = leaf

    @property
    def values(self) -> Flat:
        """As they are sent."""
        whole_P: Flat = self.flat_P.cpu().numpy()
        return whole_P if self._base_P is None else whole_P - self._base_P

    def optimizer(self, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
        """AdamW is elementwise: stepping the flat vector is stepping each tensor."""
        return torch.optim.AdamW([self.flat_P], learning_rate, weight_decay=weight_decay, fused=True)

    def zero_grad(self) -> None:
        if self.flat_P.grad is not None:
            self.flat_P.grad.zero_()
