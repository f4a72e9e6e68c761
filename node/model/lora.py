"""LoRA as PEFT computes it, in place in the backbone."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from node.errors import ModelError
from node.model.backbone import Encoder
from node.model.tuning_schema import lora_settings
from node.plan import Lora

_ADAPTER = "default"  # PEFT's name for the only set of weights


def inject_lora(root: nn.Module, encoders: Collection[Encoder], tuning: Lora) -> None:
    """Wraps the linear layers. Until weights are bound, nothing is changed: PEFT starts with B = 0."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ModelError("model.tunings: lora: PEFT is not installed; pip install 'hffm[lora]'") from error
    inject_adapter_in_model(LoraConfig(**lora_settings(encoders, tuning)), root, adapter_name=_ADAPTER)
    root.requires_grad_(False)


def injected_name(name: str) -> str:
    """`query.lora_A.weight`, as files have it, is `query.lora_A.default.weight` in the model."""
    return name.removesuffix(".weight") + f".{_ADAPTER}.weight"
