"""Scenes: coloured things in the cells of a 3 x 3 grid, each with a shape, a size and a filling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from node.learning.drawing import CELL, CELLS, COLORS, SHAPES, SIDE, Pixels, noisy, shaded, shape_mask

COLOR_NAMES = tuple(COLORS)
SHAPE_NAMES = tuple(SHAPES)
SIZES = ("big", "small")
FILLINGS = ("solid", "hollow", "striped")
COUNTS = ("one", "two", "three", "four")
_RADIUS = {"big": 7.5, "small": 5.0}  # pixels


@dataclass(frozen=True)
class Thing:
    cell: int  # 0..8, row by row
    color: str
    shape: str
    size: str
    filling: str


Scene = tuple[Thing, ...]


def draw_scene(
    rng: np.random.Generator,
    count: int,
    *,
    color: str | None = None,
    shape: str | None = None,
    size: str | None = None,
) -> Scene:
    """`count` things in different cells; no two share a colour or a shape. What is given holds for the first."""
    cells = rng.permutation(CELLS * CELLS)[:count]
    colors = _with_first(rng.permutation(COLOR_NAMES)[:count].tolist(), color)
    shapes = _with_first(rng.permutation(SHAPE_NAMES)[:count].tolist(), shape)
    sizes = rng.choice(SIZES, count).tolist()
    sizes[0] = size or sizes[0]
    fillings = rng.choice(FILLINGS, count, p=(0.6, 0.2, 0.2)).tolist()
    rows = zip(cells.tolist(), colors, shapes, sizes, fillings, strict=True)
    return tuple(Thing(*row) for row in rows)


def render(scene: Scene, rng: np.random.Generator) -> Pixels:
    """The scene on a dim, slightly noisy ground."""
    ground = rng.uniform(40, 100) + rng.normal(0, 5, 3)
    canvas = np.broadcast_to(ground.astype(np.float32), (SIDE, SIDE, 3)).copy()
    for thing in scene:
        row, column = divmod(thing.cell, CELLS)
        patch = canvas[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        radius = _RADIUS[thing.size]
        slack = CELL / 2 - radius
        x, y = CELL / 2 + rng.uniform(-slack, slack, 2)
        inside = shape_mask(thing.shape, CELL, x, y, radius)
        if thing.filling == "hollow":
            inside &= ~shape_mask(thing.shape, CELL, x, y, radius * 0.55)
        elif thing.filling == "striped":
            inside &= (np.arange(CELL)[:, None] + int(rng.integers(3))) % 3 < 2
        patch[inside] = shaded(thing.color, rng)
    return noisy(canvas, rng)


def _with_first(names: list[str], first: str | None) -> list[str]:
    """The names, all different, beginning with `first`."""
    if first is None:
        return names
    if first in names:
        names[names.index(first)] = names[0]
    return [first, *names[1:]]
