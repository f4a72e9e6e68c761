"""Opens the corpus of a task, wherever it comes from."""

from __future__ import annotations

from node.learning import generated
from node.learning.annotations import AnnotatedCorpus
from node.learning.corpus import Corpus
from node.learning.datasets import DatasetCorpus
from node.learning.digits import DigitsCorpus
from node.learning.generated import Families, GeneratedCorpus
from node.model.heads_schema import answer_count
from node.plan import TaskSpec

_DRAWN: dict[str, Families] = {
    "builtin:gqa": generated.GQA,
    "builtin:art": generated.ART,
    "builtin:shapes": generated.SHAPES,
    "builtin:matching": generated.MATCHING,
    "builtin:captions": generated.CAPTIONS,
    "builtin:motion": generated.MOTION,
}


def open_corpus(task: TaskSpec, seed: int) -> Corpus:
    """The corpus of a task; `seed` draws what is generated. Raises DataError."""
    answers = answer_count(task)
    if task.source in _DRAWN:
        return GeneratedCorpus(_DRAWN[task.source], task.name, answers, task.samples_per_answer, seed)
    if task.source == "builtin:digits":
        return DigitsCorpus(task.name, answers, task.samples_per_answer)
    if task.source == "dataset":
        return DatasetCorpus(task, answers, seed)
    return AnnotatedCorpus(task, answers, seed)
