"""A module's values as a safetensors file, without copies.

Values live in one flat float32 vector per module, tensors one after the other in ascending order of name; the
file is a header, made once per module, followed by that vector's bytes. Format: safetensors, "Format" section
of its documentation (8 bytes little-endian header length, JSON header, tensor data without gaps).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from node.errors import PayloadCorrupt, PayloadRefused
from node.plan import Module, Tensor

Values = NDArray[np.float32]  # [P], P values of a module

if sys.byteorder != "little":  # safetensors is little-endian; swapping would defeat the views
    raise ImportError("hffm needs a little-endian machine")

# Room for a header written by other software: names, spaces and metadata beyond ours.
_HEADER_SLACK_BYTES = 65_536


def header(module: Module) -> bytes:
    """The first bytes of the file, a multiple of 8 so that the values are aligned."""
    return _header(module.name, module.tensors)


@lru_cache(maxsize=256)
def _header(name: str, tensors: tuple[Tensor, ...]) -> bytes:
    table: dict[str, Any] = {"__metadata__": {"module": name}}
    start = 0
    for tensor in tensors:
        end = start + 4 * tensor.size
        table[tensor.name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def size_bytes(module: Module) -> int:
    """Length of the file that this system writes."""
    return len(header(module)) + 4 * module.size


def largest_size_bytes(module: Module) -> int:
    """Length beyond which no file of this module can be honest."""
    return 4 * module.size + 2 * len(header(module)) + _HEADER_SLACK_BYTES


@dataclass(frozen=True)
class Payload:
    """One version of one module."""

    module: Module
    values: Values

    @cached_property
    def size_bytes(self) -> int:
        return size_bytes(self.module)

    @property
    def _data(self) -> memoryview:
        return self.values.view(np.uint8).data

    @cached_property
    def sha256(self) -> bytes:
        digest = hashlib.sha256(header(self.module))
        digest.update(self._data)
        return digest.digest()

    @cached_property
    def blake3(self) -> bytes:
        """What receivers check; SHA-256 is the name of a version."""
        digest = blake3(header(self.module))
        digest.update(self._data)
        return bytes(digest.digest())

    def chunks(self, chunk_bytes: int, offset: int = 0, padding_bytes: int = 0) -> Iterator[memoryview]:
        """Views of the file from `offset` on, then of zeros, none longer than `chunk_bytes`."""
        padding = memoryview(bytes(min(padding_bytes, chunk_bytes)))
        parts = [memoryview(header(self.module)), self._data]
        for part in parts:
            for at in range(min(offset, len(part)), len(part), chunk_bytes):
                yield part[at : at + chunk_bytes]
            offset = max(0, offset - len(part))
        for at in range(min(offset, padding_bytes), padding_bytes, chunk_bytes):
            yield padding[: min(chunk_bytes, padding_bytes - at)]

    def to_bytes(self) -> bytes:
        return b"".join(self.chunks(1 << 20))


def decode(module: Module, file: bytes | bytearray | memoryview) -> Values:
    """The values of a safetensors file, as a view of it when its tensors stand in our order.

    Raises PayloadCorrupt for what is no safetensors file, PayloadRefused for one of another module.
    """
    view = memoryview(file)
    table, start = _read_header(module, view)
    data = view[start:]
    if len(data) != 4 * module.size:
        raise PayloadRefused(
            f"module '{module.name}': {len(data)} bytes of tensors where the plan has {4 * module.size}"
        )
    offsets = [_offset(module, table, tensor.name, tensor.shape, tensor.size) for tensor in module.tensors]
    spans = sorted((o, o + 4 * t.size) for o, t in zip(offsets, module.tensors, strict=True))
    if any(end != begin for (_, end), (begin, _) in zip(spans, [*spans[1:], (len(data), 0)], strict=True)):
        raise PayloadCorrupt(f"module '{module.name}': tensors overlap or leave gaps")
    if offsets == sorted(offsets) and start % 4 == 0:
        return np.frombuffer(data, dtype=np.float32)
    pieces = [data[o : o + 4 * t.size] for o, t in zip(offsets, module.tensors, strict=True)]
    return np.frombuffer(b"".join(pieces), dtype=np.float32)


def _read_header(module: Module, view: memoryview) -> tuple[dict[str, Any], int]:
    """The tensor table and where the data starts."""
    length = int.from_bytes(view[:8], "little")
    if len(view) < 8 or length > len(view) - 8 or length > 2 * len(header(module)) + _HEADER_SLACK_BYTES:
        raise PayloadCorrupt(f"module '{module.name}': no safetensors file: header of {length} bytes")
    try:
        table = json.loads(bytes(view[8 : 8 + length]))
    except (ValueError, RecursionError) as error:
        raise PayloadCorrupt(f"module '{module.name}': no safetensors file: header is not JSON") from error
    if not isinstance(table, dict):
        raise PayloadCorrupt(f"module '{module.name}': no safetensors file: header is not an object")
    table.pop("__metadata__", None)
    wanted = {t.name for t in module.tensors}
    if set(table) != wanted:
        odd = sorted(set(table) ^ wanted)[:3]
        raise PayloadRefused(f"module '{module.name}': tensors differ from the plan's, first at {odd}")
    return table, 8 + length


def _offset(module: Module, table: dict[str, Any], name: str, shape: tuple[int, ...], size: int) -> int:
    """Where a tensor's data starts, its entry checked against the plan."""
    entry = table[name]
    if not isinstance(entry, dict) or entry.get("dtype") != "F32" or entry.get("shape") != list(shape):
        raise PayloadRefused(f"module '{module.name}': tensor '{name}' is not F32 {list(shape)}")
    offsets = entry.get("data_offsets")
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(o) is int for o in offsets)
        or not 0 <= offsets[0] <= offsets[1] <= 4 * module.size
        or offsets[1] - offsets[0] != 4 * size
    ):
        raise PayloadCorrupt(f"module '{module.name}': tensor '{name}' has impossible offsets")
    return int(offsets[0])
