"""Paintings: a subject in a style, in the colours of a palette."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from node.learning.corpus import Example
from node.learning.drawing import SIDE, Grid, Mask, Pixels, grid, noisy

Rgb = NDArray[np.float32]

STYLES = ("wavy", "dotted", "checkered", "plain")


def _hsv(hue: float, saturation: float, value: float) -> Rgb:
    return np.asarray(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32) * 255


PALETTES: dict[str, Callable[[np.random.Generator, float], Rgb]] = {
    "warm": lambda rng, value: _hsv(rng.uniform(-0.06, 0.15), rng.uniform(0.6, 0.9), value),
    "cold": lambda rng, value: _hsv(rng.uniform(0.48, 0.68), rng.uniform(0.6, 0.9), value),
    "grey": lambda rng, value: _hsv(rng.uniform(0, 1), rng.uniform(0.0, 0.08), value),
}


def _house(x: Grid, y: Grid) -> Mask:
    walls = (np.abs(x) < 0.65) & (y > -0.1) & (y < 0.9)
    roof = (y > -0.95) & (y <= -0.1) & (np.abs(x) < (y + 0.95) * 1.1)
    door = (np.abs(x) < 0.18) & (y > 0.3)
    return (walls & ~door) | roof


def _tree(x: Grid, y: Grid) -> Mask:
    crown: Mask = np.hypot(x, y + 0.35) < 0.6
    stem = (np.abs(x) < 0.14) & (y > 0.1) & (y < 0.95)
    return crown | stem


def _boat(x: Grid, y: Grid) -> Mask:
    hull = (y > 0.4) & (y < 0.85) & (np.abs(x) < 1.25 - 0.75 * y)
    sail = (y > -0.9) & (y < 0.3) & (x > -0.05) & (x < (y + 0.9) * 0.65)
    return hull | sail


SUBJECTS: dict[str, Callable[[Grid, Grid], Mask]] = {"house": _house, "tree": _tree, "boat": _boat}


def _pattern(style: str, rng: np.random.Generator) -> Mask:
    """Where a painting's ground is of the darker of its two colours."""
    x, y = grid(SIDE, rng.uniform(0, 8), rng.uniform(0, 8), 4.0)
    if style == "wavy":
        return np.asarray((y + np.sin(x)) % 2.5 < 1)
    if style == "dotted":
        return np.asarray(np.hypot(x % 2 - 1, y % 2 - 1) < 0.55)
    if style == "checkered":
        return np.asarray(((x // 1) + (y // 1)) % 2 < 1)
    return np.zeros((SIDE, SIDE), np.bool_)


def paint(style: str, palette: str, subject: str, rng: np.random.Generator) -> Pixels:
    """The subject, bright, before a ground in the style."""
    shade = PALETTES[palette]
    light, dark, front = shade(rng, 0.55), shade(rng, 0.3), shade(rng, rng.uniform(0.85, 1.0))
    canvas = np.where(_pattern(style, rng)[..., None], dark, light)
    center = SIDE / 2 + rng.uniform(-3, 3, 2)
    inside = SUBJECTS[subject](*grid(SIDE, center[0], center[1], rng.uniform(14, 19)))
    canvas[inside] = front
    return noisy(canvas, rng)


def _painting(rng: np.random.Generator, style: str = "", palette: str = "", subject: str = "") -> Pixels:
    """A painting of which what is not given is drawn."""
    drawn = [rng.choice(names) for names in (STYLES, tuple(PALETTES), tuple(SUBJECTS))]
    return paint(style or drawn[0], palette or drawn[1], subject or drawn[2], rng)


def ask_style(answer: str, rng: np.random.Generator) -> Example:
    return Example("which style is the painting in?", _painting(rng, style=answer))


def ask_palette(answer: str, rng: np.random.Generator) -> Example:
    return Example("which colors does the painting use?", _painting(rng, palette=answer))


def ask_subject(answer: str, rng: np.random.Generator) -> Example:
    return Example("what does the painting show?", _painting(rng, subject=answer))
