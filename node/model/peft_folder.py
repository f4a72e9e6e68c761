"""A run's LoRA and double adapters as a folder of the PEFT library, and back. Without torch.

`PeftModel.from_pretrained(base, folder)` takes LoRA as it is. Double adapters are no method of PEFT's: they travel
as modules to be saved (`modules_to_save`), for which `attach_adapters(base, bottleneck)` makes the place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from node.errors import ModelError
from node.model.backbone import Encoder, model_shape
from node.model.schema import Flat, tensor_views
from node.model.tuning_schema import PLACE, adapter_tensor, lora_settings, module_name
from node.payload import decode, header
from node.plan import Adapters, Lora, ModelSpec, Module, Plan, Tensor

PREFIX = "base_model.model."
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_NO_LINEAR_LAYER = "dummy-target-modules"  # PEFT's own word for a folder that only has modules to be saved


def save_peft(plan: Plan, values: Mapping[str, Flat], folder: Path) -> list[str]:
    """Writes the folder; returns the modules that are in it. Raises ModelError if there is none to write."""
    places = _places(plan)
    found = [m for m in plan.modules if m.name in values and m.name in places]
    if not found:
        raise ModelError(
            f"{folder}: nothing of this run is for PEFT: it takes LoRA and adapters; tune one of them"
        )
    tensors: dict[str, Flat] = {}
    for module in found:
        for name, view in tensor_views(module, values[module.name]):
            tensors[places[module.name][name]] = view
    folder.mkdir(parents=True, exist_ok=True)
    file = Module(
        name="peft", tensors=tuple(Tensor(name=n, shape=v.shape) for n, v in sorted(tensors.items()))
    )
    data = np.concatenate([tensors[t.name].ravel() for t in file.tensors]).astype("<f4")
    (folder / WEIGHTS).write_bytes(header(file) + data.tobytes())
    config = json.dumps(_config(plan.model, plan, [m.name for m in found]), indent=1)
    (folder / CONFIG).write_text(config + "\n", encoding="utf-8")
    return [m.name for m in found]


def load_peft(plan: Plan, folder: Path) -> dict[str, Flat]:
    """The modules of a folder that suit the plan. Raises ModelError where one has other tensors."""
    path = folder / WEIGHTS
    try:
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        table: dict[str, Any] = json.loads(raw[8 : 8 + length])
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: not a safetensors file ({error}); name a folder that PEFT saved"
        ) from error
    shapes = {name: tuple(e["shape"]) for name, e in table.items() if name != "__metadata__"}
    file = Module(name="peft", tensors=tuple(Tensor(name=n, shape=s) for n, s in sorted(shapes.items())))
    views = dict(tensor_views(file, decode(file, raw)))
    places = _places(plan)
    found: dict[str, Flat] = {}
    for module in plan.modules:
        names = places.get(module.name, {})
        if not names or not set(names.values()) & set(shapes):
            continue
        found[module.name] = np.empty(module.size, np.float32)
        for tensor, (name, view) in zip(
            module.tensors, tensor_views(module, found[module.name]), strict=True
        ):
            if shapes.get(names[name]) != tensor.shape:
                why = f"'{names[name]}' is {shapes.get(names[name])}, the plan's is {tensor.shape}"
                raise ModelError(f"{path}: {why}; tune with the same rank or bottleneck")
            view[...] = views[names[name]]
    return found


def _places(plan: Plan) -> dict[str, dict[str, str]]:
    """Module -> tensor -> its name in PEFT's file."""
    encoders = model_shape(plan.model, plan.tasks).encoders
    modules = {m.name: m for m in plan.modules}
    found: dict[str, dict[str, str]] = {}
    for tuning in plan.model.tunings:
        for encoder in encoders:
            module = modules.get(module_name(tuning.kind, encoder))
            if module is not None and isinstance(tuning, Lora):
                found[module.name] = {t.name: PREFIX + t.name for t in module.tensors}
            elif module is not None and isinstance(tuning, Adapters):
                found[module.name] = _adapter_places(encoder, module)
    return found


def _adapter_places(encoder: Encoder, module: Module) -> dict[str, str]:
    found = {}
    for layer in range(encoder.layers):
        stem = adapter_tensor(layer, "", "").rstrip(".") + "."
        for tensor in module.tensors:
            if tensor.name.startswith(stem):
                found[tensor.name] = f"{PREFIX}{encoder.path}{layer}.{PLACE}.{tensor.name.removeprefix(stem)}"
    return found


def _config(model: ModelSpec, plan: Plan, modules: Sequence[str]) -> dict[str, Any]:
    encoders = model_shape(model, plan.tasks).encoders
    settings: dict[str, Any] = {"r": 8, "target_modules": _NO_LINEAR_LAYER}
    saved: list[str] | None = None
    for tuning in model.tunings:
        here = [e for e in encoders if module_name(tuning.kind, e) in modules]
        if here and isinstance(tuning, Lora):
            settings |= lora_settings(here, tuning)
        elif here and isinstance(tuning, Adapters):
            saved = [PLACE]
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": model.backbone,
        "inference_mode": True,
        "modules_to_save": saved,
        **settings,
    }
