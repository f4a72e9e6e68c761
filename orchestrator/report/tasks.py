"""The table of a report that tells the tasks apart."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from orchestrator.record.accuracy import Series
from orchestrator.report.groups import Group
from orchestrator.report.window import mean_scores, window


def task_table(groups: Sequence[Group]) -> dict[str, Any] | None:
    """Local and aggregated accuracy per task, over the rounds of the comparison; None where nothing is known."""
    summaries = [s for g in groups for s in g.members]
    over = window(summaries)
    names = sorted({t for s in summaries if s.accuracy.local.last for t in s.accuracy.local.last.tasks})
    if not names:
        return None
    rows = [
        {
            "label": g.title,
            "method": g.method,
            "pairs": [
                (
                    _mean([s.accuracy.local for s in g.members], name, over),
                    _mean([s.accuracy.aggregated for s in g.members], name, over),
                )
                for name in names
            ],
        }
        for g in groups
    ]
    guesses = [
        [s.accuracy.baseline_by_task[name] for s in summaries if name in s.accuracy.baseline_by_task]
        for name in names
    ]
    if any(guesses):
        pairs = [(_percent(fmean(g)), _percent(fmean(g))) if g else ("–", "–") for g in guesses]
        rows.append({"label": "question alone", "method": "", "pairs": pairs})
    return {"names": names, "rows": rows}


def _mean(found: Sequence[Series], task: str, over: int) -> str:
    shares = [m.tasks[task] for s in found if (m := mean_scores(s, over)) and task in m.tasks]
    return _percent(fmean(shares)) if shares else "–"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
