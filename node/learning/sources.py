"""Opens the corpus of a task, wherever it comes from."""

from __future__ import annotations

from node.learning.annotations import AnnotatedCorpus
from node.learning.corpus import Corpus
from node.learning.digits import DigitsCorpus
from node.learning.generated import ART, GQA, GeneratedCorpus
from node.model.schema import answer_count
from node.plan import TaskSpec


def open_corpus(task: TaskSpec, seed: int) -> Corpus:
    """The corpus of a task; `seed` draws what is generated. Raises DataError."""
    answers = answer_count(task)
    if task.source == "builtin:gqa":
        return GeneratedCorpus(GQA, task.name, answers, task.samples_per_answer, seed)
    if task.source == "builtin:art":
        return GeneratedCorpus(ART, task.name, answers, task.samples_per_answer, seed)
    if task.source == "builtin:digits":
        return DigitsCorpus(task.name, answers, task.samples_per_answer)
    return AnnotatedCorpus(task, answers, seed)
