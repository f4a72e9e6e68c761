"""A corpus: samples of one task, each with one of a fixed list of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from node.model.example import Example

Labels = NDArray[np.int64]


class Corpus(Protocol):
    """All samples of one task. Labels and kinds are at hand; the samples themselves are made when asked for."""

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers by label."""

    @property
    def labels_N(self) -> Labels:
        """Of every sample, its answer's place in `answers`."""

    @property
    def kinds(self) -> Sequence[str]:
        """Of every sample, what kind of question it asks: all that a guess can go by that looks no further."""

    def example(self, index: int) -> Example:
        """One sample."""


__all__ = ["Corpus", "Example", "Labels"]
