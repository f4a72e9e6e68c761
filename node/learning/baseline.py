"""What can be guessed without looking at the image: the bar that an accuracy has to clear."""

from __future__ import annotations

from collections import Counter, defaultdict

from node.learning.corpus import Corpus
from node.learning.partition import Indices


def question_only(corpus: Corpus, train: Indices, test: Indices) -> float:
    """Accuracy on `test` of always giving the most frequent answer, in `train`, to that kind of question.

    A kind that `train` lacks is given its most frequent answer overall; ties go to the lowest label.
    """
    if len(test) == 0:
        return 0.0
    overall: Counter[int] = Counter(corpus.labels_N[train].tolist())
    by_kind: dict[str, Counter[int]] = defaultdict(Counter)
    for index in train:
        by_kind[corpus.kinds[index]][int(corpus.labels_N[index])] += 1
    right = sum(_most(by_kind.get(corpus.kinds[i], overall)) == corpus.labels_N[i] for i in test)
    return float(right / len(test))


def _most(counts: Counter[int]) -> int:
    return min(counts, key=lambda label: (-counts[label], label))
