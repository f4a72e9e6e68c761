"""Where a backbone lies and what shape it has, read from its config.json without importing torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.errors import ModelError
from node.plan import ModelSpec, TaskSpec

BUILTIN = "builtin:tiny-vilt"
BUILTIN_FOLDER = Path(__file__).parent / "tiny_vilt"
BUILTIN_CLIP = "builtin:tiny-clip"
BUILTIN_FOLDERS = {BUILTIN: BUILTIN_FOLDER, BUILTIN_CLIP: BUILTIN_FOLDER.parent / "tiny_clip"}


@dataclass(frozen=True)
class Encoder:
    """One stack of layers."""

    name: str  # "" where it is the only one
    modality: str | None  # the one that it takes in; None: text and image together
    hidden: int  # width of every token
    layers: int
    path: str  # what the names of its layers' weights begin with, before the layer's number
    attention: tuple[str, str]  # its linear layers that LoRA adapts by default: of query and value


@dataclass(frozen=True)
class BackboneShape:
    """What the modules that are trained beside a frozen backbone need to know of it."""

    encoders: tuple[Encoder, ...]
    pooled: int  # width of what heads read

    @property
    def joint(self) -> bool:
        """Whether one encoder takes in text and image together."""
        return self.encoders[0].modality is None


# Random convolutions, the same for everybody (see series.py): nothing in it can be tuned.
SERIES = Encoder("series", "series", 256, 0, "", ("", ""))


def local_folder(backbone: str) -> Path | None:
    """The folder of a built-in or local backbone; None if the name is one of the hub."""
    if backbone in BUILTIN_FOLDERS:
        return BUILTIN_FOLDERS[backbone]
    if backbone.startswith("builtin:"):
        known = " or ".join(f"'{name}'" for name in BUILTIN_FOLDERS)
        raise ModelError(f"model.backbone: no '{backbone}' is built in; use {known}, a folder or a hub name")
    folder = Path(backbone).expanduser()
    if folder.is_dir():
        return folder
    if backbone.startswith(("/", ".", "~")) or backbone.count("/") > 1:
        why = "is no folder; name the folder that holds config.json and model.safetensors"
        raise ModelError(f"model.backbone: {backbone}: {why}")
    return None


def model_shape(model: ModelSpec, tasks: Sequence[TaskSpec]) -> BackboneShape:
    """The backbone's shape, with an encoder for series beside it where a task has any. Raises ModelError."""
    shape = read_shape(model.backbone)
    with_series = [task.name for task in tasks if "series" in task.modalities]
    if not with_series:
        return shape
    if shape.joint:
        raise ModelError(
            f"model.backbone: '{model.backbone}' takes in text and image alone, but task '{with_series[0]}' has "
            f"series; use one with an encoder for each modality, such as '{BUILTIN_CLIP}'"
        )
    return BackboneShape((*shape.encoders, SERIES), shape.pooled + SERIES.hidden)


def read_shape(backbone: str) -> BackboneShape:
    """The shape of a ViLT or a CLIP. Raises ModelError, naming the file, the key and the remedy."""
    path = backbone_file(backbone, "config.json")
    config = _read_json(path)
    kind = config.get("model_type")
    if kind == "vilt":
        return _vilt(path, config)
    if kind == "clip":
        return _clip(path, config)
    raise ModelError(
        f"{path}: model_type: '{kind}' is not supported; choose a backbone of type 'vilt' or 'clip'"
    )


def _vilt(path: Path, config: dict[str, Any]) -> BackboneShape:
    hidden, layers = (
        _positive(path, config, "hidden_size", 768),
        _positive(path, config, "num_hidden_layers", 12),
    )
    joint = Encoder("", None, hidden, layers, "encoder.layer.", ("query", "value"))
    return BackboneShape((joint,), hidden)


def _clip(path: Path, config: dict[str, Any]) -> BackboneShape:
    """Heads read the projections of both encoders and their product."""
    encoders = []
    for name, key, default in (("text", "text_config", 512), ("image", "vision_config", 768)):
        part = config.get(key) or {}
        if not isinstance(part, dict):
            raise ModelError(f"{path}: {key}: not a JSON object; save the backbone with save_pretrained")
        hidden = _positive(path, part, "hidden_size", default)
        layers = _positive(path, part, "num_hidden_layers", 12)
        weights = f"{key.removesuffix('_config')}_model.encoder.layers."
        encoders.append(Encoder(name, name, hidden, layers, weights, ("q_proj", "v_proj")))
    return BackboneShape(tuple(encoders), 3 * _positive(path, config, "projection_dim", 512))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = f"cannot read it: {error.strerror}; save the backbone with save_pretrained"
        raise ModelError(f"{path}: {why}") from error
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({error}); save the backbone with save_pretrained") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path}: not a JSON object; save the backbone with save_pretrained")
    return config


def _positive(path: Path, config: dict[str, Any], key: str, default: int) -> int:
    """transformers leaves a key out of config.json where it has the default of ViltConfig."""
    value = config.get(key, default)
    if not isinstance(value, int) or value < 1:
        raise ModelError(f"{path}: {key}: {value!r} is not a positive whole number; save the backbone anew")
    return value


def backbone_file(backbone: str, name: str) -> Path:
    """One file of a backbone, from its folder, else from the hub's cache or the network."""
    folder = local_folder(backbone)
    return _hub_file(backbone, name) if folder is None else folder / name


def _hub_file(name: str, file: str) -> Path:
    remedy = f"go online once, name a folder with the backbone, or use '{BUILTIN}'"
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise ModelError(
            f"model.backbone: {name}: huggingface_hub is missing; pip install hffm[train]"
        ) from error
    try:
        return Path(hf_hub_download(name, file))
    except (OSError, ValueError, RuntimeError, HfHubHTTPError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise ModelError(f"model.backbone: {name}: not found on the hub ({first_line}); {remedy}") from error
