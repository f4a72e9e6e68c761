"""Colours that stay with what they stand for, on light and dark paper, with and without colour vision.

Hues differ in lightness too, every line has a label of its own, and further periods of a method are dashed.
"""

from __future__ import annotations

import colorsys
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

_FAMILIES = {
    "star": "#d98a00",
    "edge-only": "#12936f",
    "edge-only+d2d": "#8a63d2",
    "hf-fm": "#2f7fd6",
    "hf-fm+d2d": "#d2467f",
}
_OTHERS = ("#7f8b99", "#a0722f", "#5b9e2d", "#c25b3f")
_DASHES = ("-", (0, (5, 1.6)), (0, (1.6, 1.4)), (0, (6, 1.4, 1.4, 1.4)))

# What seconds and joules are spent on: kinds of link, the way back, phases.
PARTS = {
    "train": "#97a1af",
    "d2d": "#12936f",
    "uplink": "#4fa8e0",
    "backhaul": "#2b62b5",
    "answer": "#e2a019",
    "downlink": "#e2a019",
    "evaluate": "#c9a3c7",
    "aggregate": "#8a63d2",
    "install": "#d2467f",
    "load": "#a0722f",
    "wait": "#c3c9d1",
}
PART_NAMES = {"train": "training", "d2d": "device to device", "answer": "way back", "evaluate": "evaluation",
              "aggregate": "aggregation"}  # fmt: skip


@dataclass(frozen=True)
class Stroke:
    colour: str
    dash: object  # a line style of matplotlib


def strokes(methods: Sequence[str]) -> dict[str, Stroke]:
    """A stroke per method; among those that differ in their period only, longer ones are paler and dashed."""
    families: dict[str, list[tuple[int, str]]] = {}
    for method in sorted(set(methods)):
        name, every = _split(method)
        families.setdefault(name, []).append((every, method))
    found = {}
    for name, members in families.items():
        base = _FAMILIES.get(name) or _OTHERS[zlib.crc32(name.encode()) % len(_OTHERS)]
        for rank, (_, method) in enumerate(sorted(members)):
            found[method] = Stroke(_paler(base, rank), _DASHES[rank % len(_DASHES)])
    return found


def part_colour(part: str) -> str:
    return PARTS.get(part) or _OTHERS[zlib.crc32(part.encode()) % len(_OTHERS)]


def _split(method: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.+)-(\d{1,9})", method)
    return (found[1], int(found[2])) if found else (method, 0)


def _paler(colour: str, rank: int) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, light, strength = colorsys.rgb_to_hls(red, green, blue)
    light += (0.8 - light) * min(0.6, 0.35 * rank)
    return "#" + "".join(f"{round(255 * c):02x}" for c in colorsys.hls_to_rgb(hue, light, strength))
