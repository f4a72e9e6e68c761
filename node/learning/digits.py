"""Real images without a download: scikit-learn's 1,797 handwritten digits, asked about as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from node.errors import DataError
from node.learning.corpus import Example, Labels
from node.learning.drawing import SIDE

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
QUESTION = "which digit is this?"


class DigitsCorpus:
    """`samples_per_answer` images of each of the first `answers` digits, or as many as there are (174 to 183)."""

    def __init__(self, name: str, answers: int, samples_per_answer: int) -> None:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            why = "scikit-learn is not installed; pip install 'hffm[digits]'"
            raise DataError(f"task '{name}': source: builtin:digits: {why}") from error
        images, targets = load_digits(return_X_y=True)
        kept = np.concatenate([np.flatnonzero(targets == d)[:samples_per_answer] for d in range(answers)])
        self._answers = DIGITS[:answers]
        self._images_NHW: NDArray[np.float64] = images[kept].reshape(-1, 8, 8)  # ink, 0..16
        self._labels_N: Labels = targets[kept].astype(np.int64)

    @property
    def answers(self) -> tuple[str, ...]:
        return self._answers

    @property
    def labels_N(self) -> Labels:
        return self._labels_N

    @property
    def kinds(self) -> Sequence[str]:
        return [QUESTION] * len(self._labels_N)

    def example(self, index: int) -> Example:
        scale = SIDE // 8
        ink = np.kron(self._images_NHW[index], np.ones((scale, scale))) * (255 / 16)
        return Example(QUESTION, np.repeat(ink[..., None], 3, axis=2).astype(np.uint8))
