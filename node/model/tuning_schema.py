"""Names and shapes of the modules that each kind of tuning makes. Suffix-free: widths stand in the encoders."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from node.errors import ModelError
from node.model.backbone import BackboneShape, Encoder
from node.model.weights import weight_shapes
from node.plan import (
    Adapters,
    EncoderLayers,
    Lora,
    ModelSpec,
    Module,
    Prompts,
    TaskSpec,
    Tensor,
    Tuning,
)

PARALLEL = ("a", "b")  # the two adapters of each layer, whose outputs are added (Section IV-A of the paper)
PLACE = "double_adapters"  # in PEFT's folders: what a layer's adapters are called
INIT_STD = 0.02  # as ViLT initialises its own linear layers


def tuning_schemas(
    model: ModelSpec, shape: BackboneShape, tuning: Tuning, tasks: Sequence[TaskSpec]
) -> list[Module]:
    """The modules of one kind of tuning, an encoder's after the other's."""
    if isinstance(tuning, Prompts) and not tuning.shared:
        prompts = [_task_prompt(shape, tuning, task) for task in tasks]
        return [prompt for prompt in prompts if prompt.tensors]
    return [
        Module(name=module_name(tuning.kind, encoder), tensors=ascending(tensors), modality=encoder.modality)
        for encoder in shape.encoders
        if encoder.layers and (tensors := _tensors(model, encoder, tuning))
    ]


def module_name(kind: str, encoder: Encoder) -> str:
    """`adapter`, or `adapter/text` where there are several encoders."""
    noun = {"adapters": "adapter", "prompts": "prompt"}.get(kind, kind)
    return f"{noun}/{encoder.name}" if encoder.name else noun


def _tensors(model: ModelSpec, encoder: Encoder, tuning: Tuning) -> list[Tensor]:
    if isinstance(tuning, Adapters):
        return _adapters(encoder, tuning.bottleneck)
    if isinstance(tuning, Lora):
        return _lora(model.backbone, encoder, tuning)
    if isinstance(tuning, EncoderLayers):
        return _layers(model.backbone, encoder, tuning)
    return [_prompt(encoder, tuning)]


# -- adapters ---------------------------------------------------------------------------------------------


def adapter_tensor(layer: int, branch: str, part: str) -> str:
    """Name of one tensor of an adapter; layers are padded so that names ascend as layers do."""
    return f"layer.{layer:02d}.{branch}.{part}"


def _adapters(encoder: Encoder, bottleneck: int) -> list[Tensor]:
    """Up-projections and biases start at zero, so that an untrained adapter leaves the backbone as it is."""
    parts: tuple[tuple[str, tuple[int, ...], float], ...] = (
        ("down.bias", (bottleneck,), 0.0),
        ("down.weight", (bottleneck, encoder.hidden), INIT_STD),
        ("up.bias", (encoder.hidden,), 0.0),
        ("up.weight", (encoder.hidden, bottleneck), 0.0),
    )
    return [
        Tensor(name=adapter_tensor(layer, branch, part), shape=dims, init_std=std)
        for layer in range(encoder.layers)
        for branch in PARALLEL
        for part, dims, std in parts
    ]


# -- LoRA -------------------------------------------------------------------------------------------------


def lora_pattern(encoder: Encoder, tuning: Lora) -> str:
    """Which linear layers of an encoder are adapted, as a regular expression over their whole names."""
    names = "|".join(map(re.escape, tuning.targets or encoder.attention))
    return rf"{re.escape(encoder.path)}\d+\.(.+\.)?({names})"


def lora_settings(encoders: Collection[Encoder], tuning: Lora) -> dict[str, Any]:
    """The arguments of PEFT's LoraConfig."""
    pattern = "|".join(f"({lora_pattern(encoder, tuning)})" for encoder in encoders)
    return {
        "r": tuning.rank,
        "lora_alpha": tuning.alpha,
        "target_modules": pattern,
        "lora_dropout": 0.0,
        "bias": "none",
    }


def _lora(backbone: str, encoder: Encoder, tuning: Lora) -> list[Tensor]:
    """Named as PEFT names them in its files, but for the prefix. B starts at zero: nothing is changed at first."""
    wanted = re.compile(lora_pattern(encoder, tuning))
    found = [
        (name, dims)
        for full, dims in weight_shapes(backbone).items()
        if wanted.fullmatch(name := full.removesuffix(".weight")) and full != name and len(dims) == 2
    ]
    if not found and tuning.targets is not None:
        why = f"no linear layer of the encoder is named {' or '.join(tuning.targets)}"
        raise ModelError(f"model.tunings: lora: targets: {why}; leave the key out for query and value")
    tensors: list[Tensor] = []
    for name, (out, into) in found:
        # The deviation of PEFT's own start: uniform within 1 / sqrt(in).
        start = (3 * into) ** -0.5
        tensors += [
            Tensor(name=f"{name}.lora_A.weight", shape=(tuning.rank, into), init_std=start),
            Tensor(name=f"{name}.lora_B.weight", shape=(out, tuning.rank)),
        ]
    return tensors


# -- layers of the backbone itself ------------------------------------------------------------------------


def first_trained_layer(encoder: Encoder, tuning: EncoderLayers) -> int:
    return max(0, encoder.layers - (tuning.layers or encoder.layers))


def _layers(backbone: str, encoder: Encoder, tuning: EncoderLayers) -> list[Tensor]:
    """The difference from the backbone, which starts at zero: so no aggregator needs the backbone."""
    first = first_trained_layer(encoder, tuning)
    number = re.compile(re.escape(encoder.path) + r"(\d+)\.")
    return [
        Tensor(name=name, shape=dims)
        for name, dims in weight_shapes(backbone).items()
        if (found := number.match(name)) and int(found[1]) >= first
    ]


# -- prompts ----------------------------------------------------------------------------------------------


def prompt_tensor(encoder: str) -> str:
    return f"{encoder}.tokens" if encoder else "tokens"


def _prompt(encoder: Encoder, tuning: Prompts) -> Tensor:
    return Tensor(name=prompt_tensor(encoder.name), shape=(tuning.length, encoder.hidden), init_std=INIT_STD)


def _task_prompt(shape: BackboneShape, tuning: Prompts, task: TaskSpec) -> Module:
    """Tokens for every encoder that the task uses."""
    layered = [e for e in shape.encoders if e.layers]
    encoders = [e for e in layered if e.modality is None or e.modality in task.modalities]
    tensors = [_prompt(encoder, tuning) for encoder in encoders]
    return Module(name=f"prompt/{task.name}", tensors=ascending(tensors), task=task.name)


def ascending(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple(sorted(tensors, key=lambda tensor: tensor.name))
