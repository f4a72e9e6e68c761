"""Tasks: what is asked, of which modalities, and where the samples come from."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from node.plan.frozen import Frozen

Modality = Literal["text", "image", "series"]
MODALITIES: tuple[Modality, ...] = ("text", "image", "series")


class Source(NamedTuple):
    """What a source of samples offers."""

    modalities: tuple[Modality, ...]
    answers: int | None = None  # None: as many as the task asks for
    words: int | None = None  # of the texts to be generated; None: answers are chosen, not generated


_VQA: tuple[Modality, ...] = ("text", "image")
# builtin:* are generated or bundled; gqa, art and vizwiz are formats of annotation files.
SOURCES: dict[str, Source] = {
    "builtin:gqa": Source(_VQA, 20),
    "builtin:art": Source(_VQA, 10),
    "builtin:digits": Source(_VQA, 10),
    "builtin:shapes": Source(("image",), 6),  # image classification
    "builtin:matching": Source(_VQA, 2),  # does the caption belong to the image?
    "builtin:captions": Source(("image",), 48, words=14),
    "builtin:motion": Source(("series",), 6),  # activities, from an accelerometer
    "gqa": Source(_VQA),
    "art": Source(_VQA),
    "vizwiz": Source(_VQA),
}


class TaskSpec(Frozen):
    """One task: samples of some modalities, and an answer to each, chosen from `answers` or generated."""

    name: str
    source: Literal[
        "builtin:gqa",
        "builtin:art",
        "builtin:digits",
        "builtin:shapes",
        "builtin:matching",
        "builtin:captions",
        "builtin:motion",
        "gqa",
        "art",
        "vizwiz",
        "dataset",  # a folder of the library `datasets`
    ]
    answers: Annotated[int, Field(ge=2)] | None = None  # None: as many as the built-in source has
    samples_per_answer: Annotated[int, Field(ge=1)] = 60  # the cap per answer, training and test together
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    annotations: str | None = None  # absolute path of the annotation file
    images: str | None = None  # absolute path of the image folder
    folder: str | None = None  # of `dataset`: absolute path of what `save_to_disk` wrote
    columns: dict[Modality | Literal["answer"], str] = Field(
        default_factory=dict
    )  # of `dataset`: their names
    words: Annotated[int, Field(ge=2)] | None = (
        None  # of `dataset`: generate answers from so many frequent words
    )

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What a sample consists of; a device that does not collect all of it does not execute the task."""
        if self.source == "dataset":
            return tuple(m for m in MODALITIES if m in self.columns)
        return SOURCES[self.source].modalities

    @property
    def most_samples(self) -> float:
        """Of all devices together; infinite where neither the task nor its source says."""
        known = self.answers or (None if self.source == "dataset" else SOURCES[self.source].answers)
        return math.inf if known is None else known * self.samples_per_answer

    @property
    def vocabulary_size(self) -> int | None:
        """Words from which answers are generated; None where they are chosen."""
        return self.words if self.source == "dataset" else SOURCES[self.source].words
