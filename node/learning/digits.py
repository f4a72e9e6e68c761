"""Real images without a download: scikit-learn's 1,797 handwritten digits, asked about as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from node.errors import DataError
from node.learning.corpus import Example, Labels
from node.learning.drawing import SIDE

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# What is asked, and what to add to the digit shown for the answer (nine is followed by zero).
QUESTIONS = (("which digit is this?", 0), ("which digit comes after this one?", 1))


class DigitsCorpus:
    """Each image once, asked about in turn by either question.

    There are `samples_per_answer` samples of each of the first `answers` answers, or as many as there are images
    (about 180).
    """

    def __init__(self, name: str, answers: int, samples_per_answer: int) -> None:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            why = "scikit-learn is not installed; pip install 'hffm[digits]'"
            raise DataError(f"task '{name}': source: builtin:digits: {why}") from error
        images, targets = load_digits(return_X_y=True)
        asked = _alternate(targets)
        labels = (targets + np.array([QUESTIONS[q][1] for q in asked])) % len(DIGITS)
        kept = np.concatenate([np.flatnonzero(labels == a)[:samples_per_answer] for a in range(answers)])
        self._answers = DIGITS[:answers]
        self._images_NHW: NDArray[np.float64] = images[kept].reshape(-1, 8, 8)  # ink, 0..16
        self._labels_N: Labels = labels[kept].astype(np.int64)
        self._asked_N = asked[kept]

    @property
    def answers(self) -> tuple[str, ...]:
        return self._answers

    @property
    def labels_N(self) -> Labels:
        return self._labels_N

    @cached_property
    def kinds(self) -> Sequence[str]:
        return [QUESTIONS[q][0] for q in self._asked_N]

    def example(self, index: int) -> Example:
        scale = SIDE // 8
        ink = np.kron(self._images_NHW[index], np.ones((scale, scale))) * (255 / 16)
        return Example(self.kinds[index], np.repeat(ink[..., None], 3, axis=2).astype(np.uint8))


def _alternate(targets_N: Labels) -> NDArray[np.int64]:
    """For each image its question: of the images of one digit, every other one is asked the second question."""
    asked = np.zeros(len(targets_N), np.int64)
    for digit in range(len(DIGITS)):
        asked[np.flatnonzero(targets_N == digit)[1::2]] = 1
    return asked
