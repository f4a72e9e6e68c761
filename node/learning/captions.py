"""What the built-in backbone is pretrained on: the same kind of scenes as the task's, but other questions.

Captions with one word masked name colours, shapes and sizes, as the captions of a real ViLT do; questions ask for
places, fillings and existence. The tasks' own questions (colour, shape, count, size; style, palette, subject;
digits) are never asked, and paintings and digits never seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from node.learning.scenes import COLOR_NAMES, FILLINGS, SHAPE_NAMES, SIZES, Scene, Thing

ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "center", "right")
MASK = "[MASK]"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", MASK)
CLOZE_SHARE = 0.4

# Words of the pretraining's texts, then those that only the tasks use and whose embeddings stay as they were drawn.
_SEEN = "? a and there is the thing where in what filling has which row column of it not"
_UNSEEN = """color shape how many things are one two three four or style painting picture colors does use show
digit number comes after before which this"""
_VALUES = (*COLOR_NAMES, *SHAPE_NAMES, *SIZES, *FILLINGS, *ROWS, *COLUMNS, "yes", "no")
VOCABULARY: tuple[str, ...] = tuple(dict.fromkeys((*SPECIAL, *_SEEN.split(), *_VALUES, *_UNSEEN.split())))


@dataclass(frozen=True)
class Text:
    """A question, or a caption with one word masked, and the word that answers or completes it."""

    text: str
    answer: str


def draw_text(scene: Scene, rng: np.random.Generator) -> Text:
    """A text about a scene in which no two things share a colour or a shape."""
    thing = scene[rng.integers(len(scene))]
    if rng.random() < CLOZE_SHARE:
        return _cloze(thing, scene, rng)
    return _question(thing, scene, rng)


def draw_question(scene: Scene, rng: np.random.Generator) -> Text:
    """A question alone."""
    return _question(scene[rng.integers(len(scene))], scene, rng)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One or two things of the scene, named in any order."""
    order = rng.permutation(len(scene))[:2]
    named = [f"a {scene[i].size} {scene[i].color} {scene[i].shape}" for i in order]
    return " and ".join(named)


def _question(thing: Thing, scene: Scene, rng: np.random.Generator) -> Text:
    family = rng.integers(4)
    if family == 0:
        return _exists(thing, scene, rng)
    name = f"the {thing.shape}" if rng.random() < 0.5 else f"the {thing.color} thing"
    if family == 1:
        return Text(f"which row is {name} in?", ROWS[thing.cell // 3])
    if family == 2:
        return Text(f"which column is {name} in?", COLUMNS[thing.cell % 3])
    return Text(f"what filling has {name}?", thing.filling)


def _cloze(thing: Thing, scene: Scene, rng: np.random.Generator) -> Text:
    """A caption of one thing, or of two, with one word of the first masked."""
    words = [thing.size, thing.color, thing.shape]
    masked = int(rng.integers(3))
    answer, words[masked] = words[masked], MASK
    if len(scene) == 1 or rng.random() < 0.5:
        return Text("there is a " + " ".join(words), answer)
    other = scene[(scene.index(thing) + 1) % len(scene)]
    return Text(f"a {' '.join(words)} and a {other.color} {other.shape}", answer)


def _exists(thing: Thing, scene: Scene, rng: np.random.Generator) -> Text:
    """Half of these are true; the others pair a colour and a shape that are not together."""
    if rng.random() < 0.5:
        return Text(f"is there a {thing.color} {thing.shape}?", "yes")
    if len(scene) > 1:
        other = scene[(scene.index(thing) + 1) % len(scene)]
        return Text(f"is there a {thing.color} {other.shape}?", "no")
    shapes = [shape for shape in SHAPE_NAMES if shape != thing.shape]
    return Text(f"is there a {thing.color} {rng.choice(shapes)}?", "no")
