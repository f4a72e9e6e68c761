"""Runs of one method with several seeds, drawn as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from orchestrator.record.accuracy import Series
from orchestrator.record.summary import Summary
from orchestrator.report.labels import labels

Curve = list[tuple[int, float, float, float]]  # (round, mean, least, most) of the overall accuracy


@dataclass(frozen=True)
class Group:
    """Alike in all but the seed."""

    label: str
    members: tuple[Summary, ...]

    @property
    def method(self) -> str:
        return self.members[0].method

    @property
    def title(self) -> str:
        return self.label if len(self.members) == 1 else f"{self.label} ({len(self.members)} seeds)"

    def mean(self, of: Callable[[Summary], float | None]) -> float | None:
        known = [v for s in self.members if (v := of(s)) is not None]
        return fmean(known) if known else None

    def mean_parts(self, of: Callable[[Summary], dict[str, float]]) -> dict[str, float]:
        names = sorted({name for s in self.members for name in of(s)})
        return {name: fmean(of(s).get(name, 0.0) for s in self.members) for name in names}

    def curve(self, of: Callable[[Summary], Series]) -> Curve:
        """Over rounds that are complete in all members."""
        found = [{r.round: r.overall for r in of(s).by_round} for s in self.members]
        common = sorted(set.intersection(*(set(f) for f in found)))
        values = [(r, [f[r] for f in found]) for r in common]
        return [(r, fmean(v), min(v), max(v)) for r, v in values]


def group(summaries: Sequence[Summary]) -> list[Group]:
    """In the order of the first member of each; a run that repeats another, seed and all, stands for itself."""
    found: dict[tuple[str, str, str, str, int], list[Summary]] = {}
    for s in summaries:
        alike = (s.method, s.scenario, s.channel, s.links_backend)
        again = sum(
            s.seed == other.seed for key, members in found.items() if key[:4] == alike for other in members
        )
        found.setdefault((*alike, again), []).append(s)
    firsts = labels([members[0] for members in found.values()])
    return [Group(label, tuple(members)) for label, members in zip(firsts, found.values(), strict=True)]
