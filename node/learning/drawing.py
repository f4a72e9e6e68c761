"""Shapes, colours and textures drawn with NumPy alone: pixels [height, width, 3] of uint8, well under 1 ms each."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Grid = NDArray[np.float32]

SIDE = 48  # pixels of a picture's side
CELL = 16  # pixels of a cell's side: a patch of the built-in backbone
CELLS = SIDE // CELL

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "orange": (250, 145, 30),
    "yellow": (240, 225, 50),
    "green": (40, 150, 60),
    "blue": (40, 90, 210),
    "purple": (135, 65, 175),
    "pink": (245, 150, 190),
    "white": (245, 245, 245),
}


def _triangle(x: Grid, y: Grid) -> Mask:
    return (y < 0.85) & (y > -0.95) & (np.abs(x) < (y + 0.95) * 0.55)


def _star(x: Grid, y: Grid) -> Mask:
    angle = np.arctan2(x, -y)
    ripple = np.abs(((angle * 5 / (2 * np.pi)) % 1) - 0.5) * 2  # 1 at the five tips, 0 between them
    return np.hypot(x, y) < 0.35 + 0.65 * ripple**1.5


SHAPES: dict[str, Callable[[Grid, Grid], Mask]] = {
    "circle": lambda x, y: np.hypot(x, y) < 0.95,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) < 0.85,
    "triangle": _triangle,
    "star": _star,
    "cross": lambda x, y: (
        (np.minimum(np.abs(x), np.abs(y)) < 0.3) & (np.maximum(np.abs(x), np.abs(y)) < 0.95)
    ),
    "moon": lambda x, y: (np.hypot(x, y) < 0.95) & (np.hypot(x - 0.5, y) > 0.75),
}


@cache
def _axes(side: int) -> tuple[Grid, Grid]:
    """Pixel centres (x to the right, y down)."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    return x + np.float32(0.5), y + np.float32(0.5)


def grid(side: int, center_x: float, center_y: float, radius: float) -> tuple[Grid, Grid]:
    """Coordinates of a side x side raster in units of `radius` about a centre given in pixels."""
    x, y = _axes(side)
    return (x - np.float32(center_x)) / np.float32(radius), (y - np.float32(center_y)) / np.float32(radius)


def shape_mask(shape: str, side: int, center_x: float, center_y: float, radius: float) -> Mask:
    """Pixels of a side x side raster that lie inside a shape."""
    return SHAPES[shape](*grid(side, center_x, center_y, radius))


def shaded(color: str, rng: np.random.Generator, spread: float = 14.0) -> NDArray[np.float32]:
    """A colour as it happens to be seen: RGB [3], varied so that no two things match exactly."""
    return np.asarray(COLORS[color], np.float32) + rng.normal(0, spread, 3).astype(np.float32)


def noisy(canvas: NDArray[np.float32], rng: np.random.Generator, spread: float = 6.0) -> Pixels:
    """The canvas [H, W, 3] with pixel noise, as 8-bit values."""
    noise = rng.standard_normal(canvas.shape, np.float32) * np.float32(spread)
    return np.clip(canvas + noise, 0, 255).astype(np.uint8)
