"""Scenes to pretrain on, drawn once and looked at again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from node.learning.captions import VOCABULARY
from node.learning.drawing import CELLS, Pixels
from node.learning.scenes import COLOR_NAMES, FILLINGS, SHAPE_NAMES, SIZES, Scene, draw_scene, render
from node.model.processing import tokenizer_of
from node.randomness import generator

TEXT_LENGTH = 12
SCENES = 20_000
ATTRIBUTES = (COLOR_NAMES, SHAPE_NAMES, SIZES, FILLINGS)
PATCH_KINDS = sum(1 + len(names) for names in ATTRIBUTES)


class ScenePool:
    """Scenes and their pictures."""

    def __init__(self, seed: int, scenes: int) -> None:
        rng = generator(seed, "pretrain", "scenes")
        self.scenes: list[Scene] = [draw_scene(rng, int(rng.integers(1, 5))) for _ in range(scenes)]
        self.images: list[Pixels] = [render(scene, rng) for scene in self.scenes]
        self._tokenizer = tokenizer_of(VOCABULARY, TEXT_LENGTH)

    def ids(self, texts: Sequence[str]) -> Tensor:
        """Word ids [B, T], padded to the longest text that there may be."""
        found: Tensor = self._tokenizer(list(texts), padding="max_length", return_tensors="pt")["input_ids"]
        return found


def shown(scene: Scene) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Of each patch, by attribute: 0 for nothing, else 1 + the place of its value."""
    found = np.zeros((CELLS * CELLS, len(ATTRIBUTES)), np.int64)
    for thing in scene:
        values = (thing.color, thing.shape, thing.size, thing.filling)
        found[thing.cell] = [1 + names.index(v) for names, v in zip(ATTRIBUTES, values, strict=True)]
    return found


def patch_loss(logits_BNK: Tensor, shown_BNA: Tensor) -> Tensor:
    """Cross-entropies of all attributes, added."""
    sizes = [1 + len(names) for names in ATTRIBUTES]
    parts = torch.split(logits_BNK, sizes, dim=-1)
    losses = [F.cross_entropy(p.flatten(0, 1), shown_BNA[..., a].flatten()) for a, p in enumerate(parts)]
    return torch.stack(losses).sum()
