"""The rounds over which accuracies are compared: the same number for all runs of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.record.accuracy import MeanScores, Series, mean
from orchestrator.record.summary import Summary


def window(summaries: Sequence[Summary]) -> int:
    """The longest period among them: a shorter mean would favour a method at the peak of its period."""
    return max((s.rounds.period for s in summaries), default=1)


def mean_scores(series: Series, rounds: int) -> MeanScores | None:
    """Over the last complete rounds, so many or as many as there are."""
    return mean(series.by_round[-rounds:]) if series.by_round else None
