"""Where a backbone lies and what shape it has, read from its config.json without importing torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.errors import ModelError

BUILTIN = "builtin:tiny-vilt"
BUILTIN_FOLDER = Path(__file__).parent / "tiny_vilt"


@dataclass(frozen=True)
class BackboneShape:
    """What the modules that are trained beside a frozen ViLT need to know of it."""

    hidden: int  # width of every token
    layers: int


def local_folder(backbone: str) -> Path | None:
    """The folder of a built-in or local backbone; None if the name is one of the hub."""
    if backbone == BUILTIN:
        return BUILTIN_FOLDER
    if backbone.startswith("builtin:"):
        raise ModelError(
            f"model.backbone: no '{backbone}' is built in; use '{BUILTIN}', a folder or a hub name"
        )
    folder = Path(backbone).expanduser()
    if folder.is_dir():
        return folder
    if backbone.startswith(("/", ".", "~")) or backbone.count("/") > 1:
        why = "is no folder; name the folder that holds config.json and model.safetensors"
        raise ModelError(f"model.backbone: {backbone}: {why}")
    return None


def read_shape(backbone: str) -> BackboneShape:
    """The shape of a backbone of ViLT's kind. Raises ModelError, naming the file, the key and the remedy."""
    folder = local_folder(backbone)
    path = _hub_config(backbone) if folder is None else folder / "config.json"
    config = _read_json(path)
    kind = config.get("model_type")
    if kind != "vilt":
        raise ModelError(f"{path}: model_type: '{kind}' is not supported; choose one of type 'vilt'")
    return BackboneShape(
        _positive(path, config, "hidden_size", 768), _positive(path, config, "num_hidden_layers", 12)
    )


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


def _hub_config(name: str) -> Path:
    """config.json of a backbone of the hub, from the cache or the network."""
    remedy = f"go online once, name a folder with the backbone, or use '{BUILTIN}'"
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise ModelError(
            f"model.backbone: {name}: huggingface_hub is missing; pip install hffm[train]"
        ) from error
    try:
        return Path(hf_hub_download(name, "config.json"))
    except (OSError, ValueError, RuntimeError, HfHubHTTPError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise ModelError(f"model.backbone: {name}: not found on the hub ({first_line}); {remedy}") from error
