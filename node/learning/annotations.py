"""Corpora from an annotation file and a folder of images: GQA, Art (AQUA) and VizWiz."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from node.errors import DataError
from node.learning.corpus import Example, Labels
from node.learning.records import Annotations, Record, read_annotations
from node.plan import TaskSpec
from node.randomness import generator

ENDINGS = (".jpg", ".jpeg", ".png")


class AnnotatedCorpus:
    """The records of the most frequent answers, at most `samples_per_answer` of each, drawn by `seed`."""

    def __init__(self, task: TaskSpec, answers: int, seed: int) -> None:
        path, folder = _location(task, "annotations"), _location(task, "images")
        if not folder.is_dir():
            raise DataError(
                f"task '{task.name}': images: {folder}: no such folder; name the folder of the images"
            )
        annotations = read_annotations(path)
        self._answers = _vocabulary(task, path, annotations, answers)
        chosen = _choose(annotations.records, self._answers, task, seed)
        self._records = [record for record, _ in chosen]
        self._labels_N: Labels = np.array([label for _, label in chosen], np.int64)
        if len(chosen) < 2:
            raise DataError(
                f"{path}: {len(chosen)} samples are too few for training and testing; add records"
            )
        self._images = [_find(path, record, folder) for record in self._records]

    @property
    def answers(self) -> tuple[str, ...]:
        return self._answers

    @property
    def labels_N(self) -> Labels:
        return self._labels_N

    @cached_property
    def kinds(self) -> Sequence[str]:
        """The first two words: "what color", "is there", "how many"."""
        return [" ".join(record.question.lower().split()[:2]) for record in self._records]

    def example(self, index: int) -> Example:
        from PIL import Image, UnidentifiedImageError

        path = self._images[index]
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            why = f"not a readable image ({self._records[index].key}); replace it, or drop the record"
            raise DataError(f"{path}: {why}") from error
        return Example(self._records[index].question, pixels)


def _location(task: TaskSpec, key: str) -> Path:
    value = task.annotations if key == "annotations" else task.images
    if value is None:
        raise DataError(f"task '{task.name}': {key}: needed for source '{task.source}'; give its path")
    return Path(value)


def _vocabulary(task: TaskSpec, path: Path, annotations: Annotations, answers: int) -> tuple[str, ...]:
    """The vocabulary of the file, else its most frequent answers (of equally frequent ones, by name)."""
    if annotations.vocabulary is not None:
        found = annotations.vocabulary
        if len(found) != answers:
            why = f"has {len(found)} answers, but the task asks for {answers}; set the task's `answers`"
            raise DataError(f"{path}: vocabulary: {why}")
        return found
    counts = Counter(record.answer for record in annotations.records)
    if len(counts) < answers:
        why = f"has {len(counts)} different answers, but the task asks for {answers}; lower the task's `answers`"
        raise DataError(f"{path}: {why} (task '{task.name}')")
    return tuple(sorted(counts, key=lambda answer: (-counts[answer], answer))[:answers])


def _choose(
    records: Sequence[Record], answers: tuple[str, ...], task: TaskSpec, seed: int
) -> list[tuple[Record, int]]:
    """At most `samples_per_answer` of each answer, with their labels, in the order of the file."""
    labels = {answer: label for label, answer in enumerate(answers)}
    places: dict[int, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        if record.answer in labels:
            places[labels[record.answer]].append(place)
    chosen: list[tuple[int, int]] = []
    for label, members in sorted(places.items()):
        order = generator(seed, "choose", task.name, label).permutation(members)[: task.samples_per_answer]
        chosen += [(int(place), label) for place in order]
    return [(records[place], label) for place, label in sorted(chosen)]


def _find(path: Path, record: Record, folder: Path) -> Path:
    for candidate in (folder / record.image, *(folder / (record.image + ending) for ending in ENDINGS)):
        if candidate.is_file():
            return candidate
    why = f"'{record.image}' is not in {folder}; add the image, or drop the record"
    raise DataError(f"{path}: {record.key}: image: {why}")
