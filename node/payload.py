"""A module's values as a safetensors file, without copies.

Values live in one flat float32 vector per module, tensors one after the other in ascending order of name; the
file is a header, made once per module, followed by that vector's bytes, or by fewer (`node.precision`). Format:
safetensors, "Format" section of its documentation (8 bytes little-endian header length, JSON header, tensor data
without gaps).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from node.errors import PayloadCorrupt, PayloadRefused
from node.plan import Module, Precision, Tensor
from node.precision import Stored, decoded, encoded, stored

Values = NDArray[np.float32]  # [P], P values of a module

if sys.byteorder != "little":  # safetensors is little-endian; swapping would defeat the views
    raise ImportError("hffm needs a little-endian machine")

# Room for a header written by other software: names, spaces and metadata beyond ours.
_HEADER_SLACK_BYTES = 65_536


def header(module: Module) -> bytes:
    """The first bytes of the file, a multiple of 8 so that the values are aligned."""
    return _layout(module.name, module.tensors, module.precision).header


class _Layout(NamedTuple):
    header: bytes
    stored: tuple[Stored, ...]


@lru_cache(maxsize=256)
def _layout(name: str, tensors: tuple[Tensor, ...], precision: Precision) -> _Layout:
    found = stored(tensors, precision)
    table: dict[str, Any] = {"__metadata__": {"module": name}}
    start = 0
    for one in found:
        end = start + one.size_bytes
        table[one.name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return _Layout(len(text).to_bytes(8, "little") + text, found)


def size_bytes(module: Module) -> int:
    """Length of the file that this system writes."""
    return len(header(module)) + module.wire_bytes


def largest_size_bytes(module: Module) -> int:
    """Length beyond which no file of this module can be honest."""
    return module.wire_bytes + 2 * len(header(module)) + _HEADER_SLACK_BYTES


def values_bytes(module: Module) -> int:
    """What its values take beside the file from which they are read; in fp32 they are a view of it."""
    return 0 if module.precision is Precision.FP32 else 4 * module.size


def exact(module: Module) -> Module:
    """The same module in files that lose nothing."""
    if module.precision is Precision.FP32:
        return module
    return module.model_copy(update={"precision": Precision.FP32})


@dataclass(frozen=True)
class Payload:
    """One version of one module."""

    module: Module
    values: Values

    @cached_property
    def size_bytes(self) -> int:
        return size_bytes(self.module)

    @cached_property
    def _data(self) -> memoryview:
        return encoded(self.module, self.values).data

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
    layout = _layout(module.name, module.tensors, module.precision)
    table, start = _read_header(module, layout, view)
    data = view[start:]
    offsets = _offsets(module, layout, table, len(data))
    if offsets == sorted(offsets) and start % 4 == 0:
        return decoded(module, np.frombuffer(data, np.uint8))
    pieces = [data[o : o + one.size_bytes] for o, one in zip(offsets, layout.stored, strict=True)]
    return decoded(module, np.frombuffer(b"".join(pieces), np.uint8))


def header_bytes(module: Module, start: bytes) -> int:
    """Length of the header of a file that begins with these 8 bytes; PayloadCorrupt for an impossible one."""
    length = int.from_bytes(start, "little")
    if length > 2 * len(header(module)) + _HEADER_SLACK_BYTES:
        raise PayloadCorrupt(f"module '{module.name}': no safetensors file: header of {length} bytes")
    return 8 + length


def check_header(module: Module, head: bytes, data_bytes: int) -> None:
    """Whether a file that begins with this whole header, and so many bytes behind it, is one of this module.

    Raises what `decode` raises.
    """
    layout = _layout(module.name, module.tensors, module.precision)
    table, _ = _read_header(module, layout, memoryview(head))
    _offsets(module, layout, table, data_bytes)


def _read_header(module: Module, layout: _Layout, view: memoryview) -> tuple[dict[str, Any], int]:
    """The tensor table and where the data starts."""
    length = int.from_bytes(view[:8], "little")
    if len(view) < 8 or length > len(view) - 8 or length > 2 * len(layout.header) + _HEADER_SLACK_BYTES:
        raise PayloadCorrupt(f"module '{module.name}': no safetensors file: header of {length} bytes")
    try:
        table = json.loads(bytes(view[8 : 8 + length]))
    except (ValueError, RecursionError) as error:
        raise PayloadCorrupt(f"module '{module.name}': no safetensors file: header is not JSON") from error
    if not isinstance(table, dict):
        raise PayloadCorrupt(f"module '{module.name}': no safetensors file: header is not an object")
    table.pop("__metadata__", None)
    wanted = {one.name for one in layout.stored}
    if set(table) != wanted:
        odd = sorted(set(table) ^ wanted)[:3]
        raise PayloadRefused(f"module '{module.name}': tensors differ from the plan's, first at {odd}")
    return table, 8 + length


def _offsets(module: Module, layout: _Layout, table: dict[str, Any], data_bytes: int) -> list[int]:
    """Where the data of each stored tensor starts, in their order."""
    if data_bytes != module.wire_bytes:
        raise PayloadRefused(
            f"module '{module.name}': {data_bytes} bytes of tensors where the plan has {module.wire_bytes}"
        )
    offsets = [_offset(module, table, one) for one in layout.stored]
    spans = sorted((o, o + one.size_bytes) for o, one in zip(offsets, layout.stored, strict=True))
    if any(end != begin for (_, end), (begin, _) in zip(spans, [*spans[1:], (data_bytes, 0)], strict=True)):
        raise PayloadCorrupt(f"module '{module.name}': tensors overlap or leave gaps")
    return offsets


def _offset(module: Module, table: dict[str, Any], one: Stored) -> int:
    """Where a tensor's data starts, its entry checked against the plan."""
    entry, shape = table[one.name], list(one.shape)
    if not isinstance(entry, dict) or entry.get("dtype") != one.dtype or entry.get("shape") != shape:
        raise PayloadRefused(f"module '{module.name}': tensor '{one.name}' is not {one.dtype} {shape}")
    offsets = entry.get("data_offsets")
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(type(o) is int for o in offsets)
        or not 0 <= offsets[0] <= offsets[1] <= module.wire_bytes
        or offsets[1] - offsets[0] != one.size_bytes
    ):
        raise PayloadCorrupt(f"module '{module.name}': tensor '{one.name}' has impossible offsets")
    return int(offsets[0])
