"""A corpus: questions about images, each answered by one of a fixed list of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from node.learning.drawing import Pixels

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    question: str
    image: Pixels  # [height, width, 3]


class Corpus(Protocol):
    """All samples of one task. Labels and kinds are at hand; questions and images are made when asked for."""

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers by label."""

    @property
    def labels_N(self) -> Labels:
        """Of every sample, its answer's place in `answers`."""

    @property
    def kinds(self) -> Sequence[str]:
        """Of every sample, what kind of question it asks: all that a guess without the image can go by."""

    def example(self, index: int) -> Example:
        """Question and image of one sample."""
