"""How a module's values stand in a file: exact, or in fewer bytes.

    fp32  one F32 tensor NAME
    bf16  one BF16 tensor NAME: the upper half of the float32, rounded to the nearest, ties to even
    int8  one I8 tensor NAME and one F32 tensor NAME.scale of no dimensions: value = NAME x NAME.scale

A scale is the power of two that brings the largest magnitude of its tensor to 64 ... 127. So what a file says is
exact in float32, and the same values always give the same file: nodes keep float32 vectors, and the digest of a
version is that of what was on the wire, whoever sends it on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from node.errors import PayloadRefused
from node.plan import Module, Precision, Tensor

SCALE = ".scale"
_TYPES = {Precision.FP32: ("F32", 4), Precision.BF16: ("BF16", 2), Precision.INT8: ("I8", 1)}
_BLOCK = 32_768  # values at a time: the temporaries stay in the cache
_EXPONENT = np.uint32(0x7F80_0000)
_LEAST_SCALE_LOG2 = -126  # the smallest normal float32: products with it are exact

Bytes = NDArray[np.uint8]
Float32s = NDArray[np.float32]


class Stored(NamedTuple):
    """One tensor of a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


def stored(tensors: tuple[Tensor, ...], precision: Precision) -> tuple[Stored, ...]:
    """The tensors of the file, in the order of their data."""
    dtype, value_bytes = _TYPES[precision]
    scales = tensors if precision is Precision.INT8 else ()
    return (
        *(Stored(t.name + SCALE, "F32", (), 4) for t in scales),
        *(Stored(t.name, dtype, t.shape, value_bytes * t.size) for t in tensors),
    )


def encoded(module: Module, values_P: Float32s) -> Bytes:
    """The data of the file. Values that are not finite stay so."""
    if module.precision is Precision.FP32:
        return values_P.view(np.uint8)
    if module.precision is Precision.BF16:
        return _to_bf16(values_P).view(np.uint8)
    scales_T = np.empty(len(module.tensors), np.float32)
    steps_P = np.empty(module.size, np.int8)
    for t, (start, end) in enumerate(_spans(module)):
        scales_T[t] = _scale(values_P[start:end])
        _to_steps(values_P[start:end], scales_T[t], steps_P[start:end])
    return np.concatenate([scales_T.view(np.uint8), steps_P.view(np.uint8)])


def decoded(module: Module, data: Bytes) -> Float32s:
    """The values; raises PayloadRefused for scales that no sender may choose. In fp32, a view of the data."""
    if module.precision is Precision.FP32:
        return data.view(np.float32)
    if module.precision is Precision.BF16:
        return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    count = len(module.tensors)
    scales_T, steps_P = data[: 4 * count].view(np.float32), data[4 * count :].view(np.int8)
    if not np.isfinite(scales_T).all():
        raise PayloadRefused(
            f"module '{module.name}': scales are not all finite: the sender's training diverged"
        )
    values_P = steps_P.astype(np.float32)
    for scale, tensor, (start, end) in zip(scales_T, module.tensors, _spans(module), strict=True):
        steps = values_P[start:end]
        if (wanted := _scale_of_steps(steps, scale)) != scale:
            why = f"tensor '{tensor.name}{SCALE}' is {scale:g}, and its steps need {wanted:g}"
            raise PayloadRefused(f"module '{module.name}': {why}")
        steps *= scale
    return values_P


def on_grid(module: Module, values_P: Float32s) -> Float32s:
    """What a receiver has when these values are sent."""
    if module.precision is Precision.FP32:
        return values_P
    if module.precision is Precision.INT8 and not np.isfinite(values_P).all():
        return np.full_like(values_P, np.nan)  # refused wherever it comes
    return decoded(module, encoded(module, values_P))


def _to_bf16(values_P: Float32s) -> NDArray[np.uint16]:
    found_P = np.empty(len(values_P), np.uint16)
    for start in range(0, len(values_P), _BLOCK):
        bits = np.ascontiguousarray(values_P[start : start + _BLOCK]).view(np.uint32)
        upper = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        upper -= (upper & 0x7FFF) == 0x7F80  # the largest finite one in the place of infinity
        upper[(bits & _EXPONENT) == _EXPONENT] = 0x7FC0
        found_P[start : start + _BLOCK] = upper
    return found_P


def _scale(values: Float32s) -> np.float32:
    """Of one tensor; NaN when a value is not finite."""
    peak = max(values.max(), -values.min()) if len(values) else np.float32(0)
    if not np.isfinite(peak):
        return np.float32(np.nan)
    exponent = int(np.frexp(peak)[1]) - 7  # 2^7 x 2^exponent is above the peak
    return np.float32(2.0 ** max(exponent, _LEAST_SCALE_LOG2))


def _scale_of_steps(steps: Float32s, scale: np.float32) -> np.float32:
    """The scale that the values `steps` x `scale` have."""
    peak = max(steps.max(), -steps.min()) if len(steps) else np.float32(0)
    with np.errstate(over="ignore"):
        return _scale(np.array([peak * scale], np.float32))


def _to_steps(values: Float32s, scale: np.float32, out: NDArray[np.int8]) -> None:
    if not np.isfinite(scale):
        out[:] = 0
        return
    inverse = np.float32(1) / scale  # a power of two as well
    for start in range(0, len(values), _BLOCK):
        steps = values[start : start + _BLOCK] * inverse
        np.rint(steps, out=steps)
        np.clip(steps, -127, 127, out=steps)
        out[start : start + _BLOCK] = steps


def _spans(module: Module) -> list[tuple[int, int]]:
    """Where each tensor begins and ends in the vector."""
    ends = np.cumsum([t.size for t in module.tensors]).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))
