"""The modules of a run: how large they are, who averaged them from whom, and how far their versions drifted apart.

Drift is measured where updates meet, by each aggregator: the root mean square distance, by weight, of what its
children sent to the mean that it made of them, as a share of that mean's norm. At the lowest tier these are the
devices of a cluster; above it, clusters. Versions that never met are compared in the end, as far as they were
collected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import sqrt

import numpy as np
from pydantic import BaseModel, ConfigDict

from node.plan import Module, Plan
from orchestrator.record.course import Course
from orchestrator.record.events import Aggregated
from orchestrator.record.metrics import counted
from orchestrator.record.runs import Run, read_modules


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class AtTier(_Frozen):
    """One module at one tier that averaged it."""

    tier: str
    every: tuple[int, ...]  # rounds; several, where it was decided anew on the way
    nodes: int  # that averaged it
    rounds: int  # in which they did
    versions: int  # different ones that came of it
    contributors: int  # devices whose training went into any
    last_contributors: int  # and into those of the last round
    drift: dict[int, float]  # round -> share of the norm, the mean over the nodes; where several senders met


class ModuleFigures(_Frozen):
    module: str
    values: int
    bytes: int  # four per value
    holders: int  # devices that have it
    tiers: tuple[AtTier, ...]  # from the devices up
    # Between the last versions of nodes whose parent never averaged them; None: at most one such version is known.
    apart_at_end: float | None


def module_figures(run: Run) -> list[ModuleFigures]:
    """In the order of the plan. Raises RunFolderError."""
    found: dict[str, dict[str, list[Aggregated]]] = defaultdict(lambda: defaultdict(list))
    for event in counted(run.plan, run.events.aggregated):
        found[event.module][event.tier].append(event)
    ends, course = _at_end(run), Course(run.plan, run.events)
    return [
        ModuleFigures(
            module=module.name,
            values=module.size,
            bytes=4 * module.size,
            holders=len(run.plan.holders(module.name)),
            tiers=tuple(
                _at_tier(course, module, tier, same)
                for tier, same in sorted(found[module.name].items(), key=lambda item: rung(run.plan, item[0]))
            ),
            apart_at_end=ends.get(module.name),
        )
        for module in run.plan.modules
    ]


def rung(plan: Plan, tier: str) -> int:
    """Height of a tier above the devices; a cluster's head is below every aggregator."""
    return max((plan.height(n.id) for n in plan.nodes if n.tier == tier), default=0)


def _at_tier(course: Course, module: Module, tier: str, same: Sequence[Aggregated]) -> AtTier:
    last = max(e.round for e in same)
    every = {(e.round, course.periods(module.name, e.round).get(tier)) for e in same}
    drift: dict[int, list[Aggregated]] = defaultdict(list)
    for e in same:
        if e.drift is not None and e.norm and (e.senders or 0) > 1:
            drift[e.round].append(e)
    return AtTier(
        tier=tier,
        every=tuple(dict.fromkeys(p for _, p in sorted(every) if p is not None)),
        nodes=len({e.node for e in same}),
        rounds=len({e.round for e in same}),
        versions=len({e.sha256 for e in same}),
        contributors=len({c for e in same for c in e.contributors}),
        last_contributors=len({c for e in same if e.round == last for c in e.contributors}),
        drift={r: _mean_drift(events) for r, events in sorted(drift.items())},
    )


def _mean_drift(events: Iterable[Aggregated]) -> float:
    """By weight."""
    shares = [((e.drift or 0.0) / (e.norm or 1.0), e.weight) for e in events]
    return sum(share * weight for share, weight in shares) / sum(weight for _, weight in shares)


def _at_end(run: Run) -> dict[str, float]:
    """Module -> how far apart its last versions are, each counting once."""
    root, held = run.plan.root.id, defaultdict(list)
    for holder in run.summary.modules:
        if holder != root:
            for name, values in read_modules(run, holder).items():
                held[name].append(values.astype(np.float64))
    found = {}
    for name, versions in held.items():
        centre = np.mean(versions, axis=0)
        norm = float(np.linalg.norm(centre))
        if len(versions) > 1 and norm > 0:
            found[name] = sqrt(np.mean([np.square(v - centre).sum() for v in versions])) / norm
    return found
