"""Double adapters: two small networks beside each other after every layer, whose outputs are added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from node.model.tuning_schema import PARALLEL, PLACE, adapter_tensor


def add_adapters(hidden_BSD: Tensor, layer: int, adapter: Mapping[str, Tensor]) -> Tensor:
    """The layer's output with its parallel adapters' outputs added (double adapters, Section IV-A).

    Each is up(relu(down(x))). Side by side they are one adapter of their joint width, computed as such.
    """

    def of(part: str) -> list[Tensor]:
        return [adapter[adapter_tensor(layer, branch, part)] for branch in PARALLEL]

    inner = F.relu(F.linear(hidden_BSD, torch.cat(of("down.weight")), torch.cat(of("down.bias"))))
    bias = torch.stack(of("up.bias")).sum(0)
    return hidden_BSD + F.linear(inner, torch.cat(of("up.weight"), dim=1), bias)


class DoubleAdapter(nn.Module):
    """The adapters of one layer as a module, for use outside of this system."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        for branch in PARALLEL:
            parts = {"down": nn.Linear(width, bottleneck), "up": nn.Linear(bottleneck, width)}
            nn.init.zeros_(parts["up"].weight)
            nn.init.zeros_(parts["up"].bias)
            self.add_module(branch, nn.ModuleDict(parts))

    def forward(self, hidden_BSD: Tensor) -> Tensor:
        branches: list[Any] = [self.get_submodule(branch) for branch in PARALLEL]
        return torch.stack([one["up"](F.relu(one["down"](hidden_BSD))) for one in branches]).sum(0)


def attach_adapters(model: nn.Module, bottleneck: int) -> nn.Module:
    """Puts double adapters behind every layer of a plain ViLT or CLIP of transformers, which stays as it was.

    Then PeftModel.from_pretrained(model, folder) loads what `hffm export --peft` wrote.
    """
    for name, layers in list(model.named_modules()):
        if isinstance(layers, nn.ModuleList) and name.endswith(("encoder.layer", "encoder.layers")):
            for layer in layers:
                width = next(p.shape[0] for p in layer.parameters() if p.ndim == 1)
                layer.add_module(PLACE, DoubleAdapter(width, bottleneck))
                layer.register_forward_hook(_with_adapters)
    return model


def _with_adapters(layer: nn.Module, inputs: Any, output: Any) -> Any:
    first = output[0] if isinstance(output, tuple) else output
    added: Tensor = first + layer.get_submodule(PLACE)(first)
    return (added, *output[1:]) if isinstance(output, tuple) else added
