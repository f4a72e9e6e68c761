"""Accuracy by round, task, device and cluster, over complete rounds only.

A round is complete when every device of the plan told its score in every task in which it ever told one.
(The published figures are read at a round in which some runs had reported a part of their devices.)
Accuracies are shares from 0 to 1. Every mean is weighted by test samples: right answers over questions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from node.plan import Plan
from orchestrator.record.events import Amount, Metric


class Scores(BaseModel):
    """The accuracy of one round, or the mean over several."""

    model_config = ConfigDict(frozen=True)
    overall: Amount
    tasks: dict[str, Amount]
    clusters: dict[str, Amount]  # parent of the devices -> accuracy
    devices: dict[str, Amount]


class RoundScores(Scores):
    round: int


class MeanScores(Scores):
    """Mean over the rounds named: single rounds mislead, since accuracy rises and falls with the period."""

    rounds: tuple[int, ...]


class Series(BaseModel):
    """One way of evaluating, over the rounds."""

    model_config = ConfigDict(frozen=True)
    last: RoundScores | None = None  # of the last complete round
    last_period: MeanScores | None = None  # over the last complete rounds, as many as the period has
    by_round: tuple[RoundScores, ...] = ()  # complete rounds
    incomplete: dict[int, tuple[str, ...]] = {}  # round -> the devices that did not report in full


class Accuracy(BaseModel):
    model_config = ConfigDict(frozen=True)
    local: Series  # each device's model after local training, before aggregation: as published
    aggregated: Series  # each device's model after it adopted what came back
    # Guessing the answer from the question alone, on the same test samples; None where no task says it.
    baseline: Amount | None = None
    baseline_by_task: dict[str, Amount] = {}


def accuracy(plan: Plan, metrics: Sequence[Metric], period: int) -> Accuracy:
    """`period`: rounds after which the circulation of all modules repeats."""
    by_when: dict[str, list[Metric]] = {"local": [], "aggregated": []}
    for m in metrics:
        if m.round >= 0 and m.node in plan.by_id:
            by_when[m.when].append(m)
    known = [m for m in by_when["local"] or by_when["aggregated"] if m.baseline is not None]
    return Accuracy(
        local=_series(plan, by_when["local"], period),
        aggregated=_series(plan, by_when["aggregated"], period),
        baseline=_baseline(known),
        baseline_by_task={
            task: share
            for task in sorted({m.task for m in known})
            if (share := _baseline([m for m in known if m.task == task])) is not None
        },
    )


def _series(plan: Plan, metrics: Sequence[Metric], period: int) -> Series:
    latest: dict[int, dict[tuple[str, str], Metric]] = defaultdict(dict)
    for m in metrics:
        latest[m.round][m.node, m.task] = m  # the last word counts
    expected = {pair for scores in latest.values() for pair in scores}
    devices = {d.id for d in plan.devices}
    incomplete: dict[int, tuple[str, ...]] = {}
    complete: list[RoundScores] = []
    for r, scores in sorted(latest.items()):
        late = {node for node, _ in expected - scores.keys()} | devices - {node for node, _ in scores}
        if late:
            incomplete[r] = tuple(sorted(late))
        else:
            complete.append(_scores(plan, r, scores.values()))
    last = complete[-period:]
    return Series(
        last=complete[-1] if complete else None,
        last_period=mean(last) if last else None,
        by_round=tuple(complete),
        incomplete=incomplete,
    )


def _scores(plan: Plan, round_index: int, metrics: Iterable[Metric]) -> RoundScores:
    found = list(metrics)

    def shares(name_of: Callable[[Metric], str]) -> dict[str, float]:
        names = sorted({name_of(m) for m in found})
        return {name: _share([m for m in found if name_of(m) == name]) for name in names}

    return RoundScores(
        round=round_index,
        overall=_share(found),
        tasks=shares(lambda m: m.task),
        clusters=shares(lambda m: plan.by_id[m.node].parent or m.node),
        devices=shares(lambda m: m.node),
    )


def _share(metrics: Sequence[Metric]) -> float:
    total = sum(m.total for m in metrics)
    return sum(m.correct for m in metrics) / total if total else 0.0


def mean(rounds: Sequence[RoundScores]) -> MeanScores:
    def means(of: Callable[[RoundScores], dict[str, float]]) -> dict[str, float]:
        names = sorted({name for r in rounds for name in of(r)})
        return {name: sum(of(r).get(name, 0.0) for r in rounds) / len(rounds) for name in names}

    return MeanScores(
        rounds=tuple(r.round for r in rounds),
        overall=sum(r.overall for r in rounds) / len(rounds),
        tasks=means(lambda r: r.tasks),
        clusters=means(lambda r: r.clusters),
        devices=means(lambda r: r.devices),
    )


def _baseline(metrics: Sequence[Metric]) -> float | None:
    """Over the last score of each device and task: the test samples are the same in every round."""
    last = {(m.node, m.task): m for m in metrics}.values()
    total = sum(m.total for m in last)
    return sum((m.baseline or 0.0) * m.total for m in last) / total if total else None
