"""The built-in corpora that are drawn: scenes of things, asked about (as GQA does), classified, captioned and
matched with captions; stylised pictures (as Art asks about); and the series of an accelerometer.

Sample i of a corpus has answer i modulo the number of answers, and everything else about it comes from a generator
named after it, so that any node can make any sample without the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from node.learning import motions, paintings
from node.learning.corpus import Example, Labels
from node.learning.scenes import COLOR_NAMES, COUNTS, SHAPE_NAMES, SIZES, draw_scene, render
from node.randomness import generator

Maker = Callable[[str, np.random.Generator], Example]


def _color(answer: str, rng: np.random.Generator) -> Example:
    scene = draw_scene(rng, int(rng.integers(2, 5)), color=answer)
    return Example(f"what color is the {scene[0].shape}?", render(scene, rng))


def _shape(answer: str, rng: np.random.Generator) -> Example:
    scene = draw_scene(rng, int(rng.integers(2, 5)), shape=answer)
    return Example(f"what shape is the {scene[0].color} thing?", render(scene, rng))


def _count(answer: str, rng: np.random.Generator) -> Example:
    scene = draw_scene(rng, COUNTS.index(answer) + 1)
    return Example("how many things are there?", render(scene, rng))


def _size(answer: str, rng: np.random.Generator) -> Example:
    scene = draw_scene(rng, int(rng.integers(2, 5)), size=answer)
    return Example(f"is the {scene[0].shape} big or small?", render(scene, rng))


def _single(answer: str, rng: np.random.Generator) -> Example:
    scene = draw_scene(rng, 1, shape=answer)
    return Example(image=render(scene, rng))


def _captioned(answer: str, rng: np.random.Generator) -> Example:
    color, shape = answer.split()
    return Example(image=render(draw_scene(rng, 1, color=color, shape=shape), rng))


def _matched(answer: str, rng: np.random.Generator) -> Example:
    """A false caption is wrong in the colour or in the shape."""
    (thing,) = scene = draw_scene(rng, 1)
    color, shape = thing.color, thing.shape
    if answer == "no" and rng.random() < 0.5:
        color = str(rng.choice([name for name in COLOR_NAMES if name != color]))
    elif answer == "no":
        shape = str(rng.choice([name for name in SHAPE_NAMES if name != shape]))
    return Example(f"a {color} {shape}", render(scene, rng))


# Family: its answers, and what makes a sample for one of them.
Families = dict[str, tuple[tuple[str, ...], Maker]]
GQA: Families = {
    "color": (COLOR_NAMES, _color),
    "shape": (SHAPE_NAMES, _shape),
    "count": (COUNTS, _count),
    "size": (SIZES, _size),
}
ART: Families = {
    "style": (paintings.STYLES, paintings.ask_style),
    "palette": (tuple(paintings.PALETTES), paintings.ask_palette),
    "subject": (tuple(paintings.SUBJECTS), paintings.ask_subject),
}
SHAPES: Families = {"shapes": (SHAPE_NAMES, _single)}
MATCHING: Families = {"matching": (("no", "yes"), _matched)}
CAPTIONS: Families = {
    "captions": (tuple(f"{color} {shape}" for color in COLOR_NAMES for shape in SHAPE_NAMES), _captioned)
}
MOTION: Families = {"motion": (motions.ACTIVITIES, motions.record)}


class GeneratedCorpus:
    """The first `answers` answers of the families, `samples_per_answer` samples of each."""

    def __init__(
        self, families: Families, name: str, answers: int, samples_per_answer: int, seed: int
    ) -> None:
        self._makers = [(kind, a, make) for kind, (names, make) in families.items() for a in names][:answers]
        self._name = name
        self._seed = seed
        self._count = answers * samples_per_answer

    @cached_property
    def answers(self) -> tuple[str, ...]:
        return tuple(answer for _, answer, _ in self._makers)

    @cached_property
    def labels_N(self) -> Labels:
        return np.arange(self._count, dtype=np.int64) % len(self._makers)

    @cached_property
    def kinds(self) -> Sequence[str]:
        return [self._makers[label][0] for label in self.labels_N]

    def example(self, index: int) -> Example:
        _, answer, make = self._makers[self.labels_N[index]]
        example: Example = make(answer, generator(self._seed, "corpus", self._name, index))
        return example
