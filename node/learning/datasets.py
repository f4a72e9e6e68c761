"""Corpora from a folder of the Hugging Face library `datasets`, as its `save_to_disk` writes it.

A task names the columns of its modalities and of the answer. Images may be of the feature Image, or arrays; series
are lists of numbers, or of rows of numbers, or the feature Audio's arrays. A ClassLabel counts by its name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from node.errors import DataError
from node.learning.corpus import Labels
from node.model.example import Example
from node.plan import TaskSpec
from node.randomness import generator


class DatasetCorpus:
    """The rows of the most frequent answers, at most `samples_per_answer` of each, drawn by `seed`."""

    def __init__(self, task: TaskSpec, answers: int, seed: int) -> None:
        self._task = task
        self._folder = _folder(task)
        self._rows = _open(task, self._folder)
        given = self._column("answer")
        self._answers, chosen = _choose(self._fail, task, given, answers, seed)
        self._places = [place for place, _ in chosen]
        self._labels_N: Labels = np.array([label for _, label in chosen], np.int64)

    @property
    def answers(self) -> tuple[str, ...]:
        return self._answers

    @property
    def labels_N(self) -> Labels:
        return self._labels_N

    @property
    def kinds(self) -> Sequence[str]:
        """The first two words of the text, where there is one."""
        if "text" not in self._task.columns:
            return [self._task.name] * len(self._places)
        texts = self._column("text")
        return [" ".join(str(texts[place]).lower().split()[:2]) for place in self._places]

    def example(self, index: int) -> Example:
        row = self._rows[self._places[index]]
        columns = self._task.columns
        text = str(row[columns["text"]]) if "text" in columns else ""
        image = self._pixels(row[columns["image"]]) if "image" in columns else None
        series = self._series(row[columns["series"]]) if "series" in columns else None
        return Example(text, image, series)

    def _column(self, part: Any) -> list[str]:
        """As texts; names in the place of class numbers."""
        name = self._task.columns[part]
        names = getattr(self._rows.features[name], "names", None)
        return [names[v] if names and isinstance(v, int) else str(v).strip() for v in self._rows[name]]

    def _pixels(self, value: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
        if hasattr(value, "convert"):
            return np.asarray(value.convert("RGB"))
        array = np.asarray(value)
        if array.ndim == 2:
            array = np.repeat(array[..., None], 3, axis=2)
        if array.ndim != 3 or array.shape[2] != 3:
            raise self._fail("image", f"an image of shape {array.shape}; give [height, width, 3]")
        return array.astype(np.uint8)

    def _series(self, value: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        if isinstance(value, dict) or hasattr(value, "get_all_samples"):  # the feature Audio
            value = value["array"]
        try:
            array = np.asarray(value, np.float32)
        except ValueError as error:
            raise self._fail("series", f"not numbers ({error}); give [time, channels]") from error
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or not np.isfinite(array).all():
            raise self._fail(
                "series", f"a series of shape {array.shape}; give finite numbers [time, channels]"
            )
        return array

    def _fail(self, part: str, why: str) -> DataError:
        return DataError(f"{self._folder}: column of {part}: {why} (task '{self._task.name}')")


def _folder(task: TaskSpec) -> Path:
    if task.folder is None:
        raise DataError(f"task '{task.name}': folder: needed for source 'dataset'; give its path")
    return Path(task.folder)


def _open(task: TaskSpec, folder: Path) -> Any:
    """The rows, of all splits one after the other where there are several."""
    try:
        import datasets
    except ImportError as error:
        why = "the library datasets is not installed; pip install 'hffm[datasets]'"
        raise DataError(f"task '{task.name}': source: dataset: {why}") from error
    try:
        found: Any = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        why = f"not a data set ({str(error).partition(chr(10))[0]}); write it with save_to_disk"
        raise DataError(f"{folder}: {why}") from error
    if isinstance(found, datasets.DatasetDict):
        found = datasets.concatenate_datasets([found[name] for name in sorted(found)])
    for part, name in task.columns.items():
        if name not in found.column_names:
            has = ", ".join(found.column_names)
            raise DataError(
                f"{folder}: no column '{name}' for {part}, only {has}; correct the task's `columns`"
            )
    if "answer" not in task.columns or len(task.columns) < 2:
        why = "name the column of the answer and one of text, image or series"
        raise DataError(f"task '{task.name}': columns: {why}")
    return found


def _choose(
    fail: Any, task: TaskSpec, given: Sequence[str], answers: int, seed: int
) -> tuple[tuple[str, ...], list[tuple[int, int]]]:
    """The most frequent answers (of equally frequent ones, by name), and the rows with their labels, in order."""
    counts = Counter(given)
    if len(counts) < answers:
        raise fail(
            "answer", f"{len(counts)} different answers, but the task asks for {answers}; lower `answers`"
        )
    names = tuple(sorted(counts, key=lambda answer: (-counts[answer], answer))[:answers])
    labels = {answer: label for label, answer in enumerate(names)}
    places: dict[int, list[int]] = defaultdict(list)
    for place, answer in enumerate(given):
        if answer in labels:
            places[labels[answer]].append(place)
    chosen: list[tuple[int, int]] = []
    for label, members in sorted(places.items()):
        order = generator(seed, "choose", task.name, label).permutation(members)[: task.samples_per_answer]
        chosen += [(int(place), label) for place in order]
    if len(chosen) < 2:
        raise fail("answer", f"{len(chosen)} samples are too few for training and testing; add rows")
    return names, sorted(chosen)
