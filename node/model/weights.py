"""Names and shapes of a backbone's weights, from the headers of its safetensors files, without torch."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from node.errors import ModelError
from node.model.backbone import backbone_file

Shapes = dict[str, tuple[int, ...]]
_LONGEST_HEADER = 100_000_000  # bytes, as the safetensors library has it
_PREFIXES = ("vilt.", "clip.")  # where the backbone was saved as part of a larger model
REMEDY = "save the backbone with save_pretrained"


@lru_cache(maxsize=4)
def weight_shapes(backbone: str) -> Shapes:
    """Name -> shape. Raises ModelError, naming the file and the remedy."""
    try:
        files = [backbone_file(backbone, "model.safetensors")]
        if not files[0].is_file():
            raise ModelError(f"{files[0]}: no such file; {REMEDY}")
    except ModelError:
        index = _json(backbone_file(backbone, "model.safetensors.index.json"))
        names = sorted(set(index.get("weight_map", {}).values()))
        files = [backbone_file(backbone, str(name)) for name in names]
    found: Shapes = {}
    for file in files:
        for name, entry in _header(file).items():
            if name != "__metadata__":
                found[_plain(name)] = tuple(entry["shape"])
    return found


def _plain(name: str) -> str:
    return next((name.removeprefix(p) for p in _PREFIXES if name.startswith(p)), name)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path.with_name('model.safetensors')}: no such file; {REMEDY}") from error
    return found if isinstance(found, dict) else {}


def _header(path: Path) -> dict[str, Any]:
    """Format: safetensors: eight bytes of length, little-endian, and as much JSON."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _LONGEST_HEADER:
                raise ValueError("its header is too long")
            found = json.loads(file.read(length))
        if not isinstance(found, dict):
            raise ValueError("its header is no object")
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not a safetensors file ({error}); {REMEDY}") from error
    return found
