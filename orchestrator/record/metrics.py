"""metrics.jsonl: one line per round, device, task and module."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from node.plan import CLUSTER_TIER, Plan
from orchestrator.record.events import Aggregated, Events, Metric


def metric_lines(plan: Plan, events: Events) -> Iterator[dict[str, Any]]:
    """In ascending order. Accuracies are shares from 0 to 1, None where they were not told.

    `weight` is what the device put into the averages of this module in this round: its training samples; 0
    when it was left out of them all, None when nobody averaged the module.
    """
    samples = {e.node: e.samples for e in events.ready}
    contributors: dict[tuple[int, str], set[str]] = defaultdict(set)
    for e in counted(plan, events.aggregated):
        contributors[e.round, e.module].update(e.contributors)
    scores: dict[tuple[int, str, str], dict[str, Metric]] = defaultdict(dict)
    for m in events.metrics:
        scores[m.round, m.node, m.task][m.when] = m
    for (r, node, task), told in sorted(scores.items()):
        either = told.get("local") or told["aggregated"]
        for module in sorted({name for m in told.values() for name in m.modules}):
            who = contributors.get((r, module))
            weight = samples.get(node, {}).get(module, 0.0) if who and node in who else 0.0
            yield {
                "round": r,
                "node": node,
                "cluster": plan.by_id[node].parent if node in plan.by_id else None,
                "task": task,
                "module": module,
                "train_samples": either.train_samples,
                "test_samples": either.total,
                "accuracy_local": _accuracy(told.get("local")),
                "accuracy_aggregated": _accuracy(told.get("aggregated")),
                "baseline": either.baseline,
                "loss": told["local"].loss if "local" in told else None,
                "weight": None if who is None else weight,
            }


def counted(plan: Plan, aggregated: Iterable[Aggregated]) -> list[Aggregated]:
    """Without averages of a cluster whose place a later attempt at the same round took."""
    last: dict[tuple[str | None, int, str], int] = {}
    told = [(e, (plan.by_id[e.node].parent, e.round, e.module)) for e in aggregated if e.node in plan.by_id]
    for e, key in told:
        if e.tier == CLUSTER_TIER:
            last[key] = max(e.attempt, last.get(key, 0))
    return [e for e, key in told if e.tier != CLUSTER_TIER or e.attempt == last[key]]


def _accuracy(metric: Metric | None) -> float | None:
    return metric.correct / metric.total if metric and metric.total else None
