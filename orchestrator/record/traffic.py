"""Bytes, seconds and joules: by link, kind of link, module and phase."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from node.plan import Plan
from orchestrator.record.course import Course
from orchestrator.record.critical_path import is_priced, part_of
from orchestrator.record.events import Amount, Events, Phase, Transfer


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class LinkTraffic(_Frozen):
    """All transfers of one purpose over one link."""

    src: str
    dst: str
    kind: str
    purpose: str
    transfers: int
    bytes: Amount
    measured_s: Amount  # first byte to receipt
    modelled_s: Amount | None  # None: the plan has no such link
    ratio: Amount | None  # measured over modelled


class PhaseTime(_Frozen):
    """One phase on all nodes of one tier, over the whole run."""

    tier: str
    phase: str
    times: int
    wall_s: Amount
    cpu_s: Amount
    energy_j: Amount
    energy_source: str


class Traffic(_Frozen):
    """Bytes on the wire, padding included, all nodes together; a transfer counts once per hop."""

    total_bytes: Amount = 0.0  # snapshots at the end of the run included
    per_round_bytes: Amount = 0.0
    by_kind_bytes: dict[str, Amount] = {}  # per round
    # Per round; a transfer of several modules is split in proportion to their sizes.
    by_module_bytes: dict[str, Amount] = {}
    by_round_bytes: dict[int, dict[str, Amount]] = {}  # round -> kind of link


class Energy(_Frozen):
    """Joules per round, all nodes together."""

    modelled: Amount | None = None
    measured: Amount | None = None  # sending, over what the model prices: measured seconds x the link's power
    compute: Amount | None = None  # all phases of all nodes
    downlink: Amount | None = None  # sending that the model leaves out
    modelled_parts: dict[str, Amount] = {}  # kind of link, or `answer`
    measured_parts: dict[str, Amount] = {}
    compute_parts: dict[str, Amount] = {}  # phase
    source: dict[str, str] = {}  # of `measured` and of `compute`: where the joules come from


def links(transfers: Iterable[Transfer]) -> tuple[LinkTraffic, ...]:
    grouped: dict[tuple[str, str, str, str], list[Transfer]] = defaultdict(list)
    for t in transfers:
        grouped[t.src, t.dst, t.link, t.purpose].append(t)
    return tuple(_link(*key, found) for key, found in sorted(grouped.items()))


def _link(src: str, dst: str, kind: str, purpose: str, found: Sequence[Transfer]) -> LinkTraffic:
    modelled = [t.modelled_s for t in found if t.modelled_s is not None]
    modelled_s = sum(modelled) if len(modelled) == len(found) else None
    measured_s = sum(t.seconds for t in found)
    return LinkTraffic(
        src=src,
        dst=dst,
        kind=kind,
        purpose=purpose,
        transfers=len(found),
        bytes=sum(t.bytes for t in found),
        measured_s=measured_s,
        modelled_s=modelled_s,
        ratio=measured_s / modelled_s if modelled_s else None,
    )


def phases(plan: Plan, found: Iterable[Phase]) -> tuple[PhaseTime, ...]:
    grouped: dict[tuple[str, str], list[Phase]] = defaultdict(list)
    for p in found:
        if p.node in plan.by_id:
            grouped[plan.by_id[p.node].tier, p.phase].append(p)
    return tuple(
        PhaseTime(
            tier=tier,
            phase=phase,
            times=len(same),
            wall_s=sum(p.wall_s for p in same),
            cpu_s=sum(p.cpu_s for p in same),
            energy_j=sum(p.energy_j for p in same),
            energy_source=_sources(p.energy_source for p in same),
        )
        for (tier, phase), same in sorted(grouped.items())
    )


def traffic(plan: Plan, transfers: Sequence[Transfer], rounds: range) -> Traffic:
    """Means are over `rounds`."""
    by_round: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    by_kind: dict[str, float] = defaultdict(float)
    by_module: dict[str, float] = defaultdict(float)
    sizes = {m.name: m.size for m in plan.modules}
    for t in transfers:
        if t.round is None or t.purpose == "snapshot":
            continue
        by_round[t.round][t.link] += t.bytes
        if t.round in rounds:
            by_kind[t.link] += t.bytes / len(rounds)
            whole = sum(sizes.get(m, 1) for m in t.modules)
            for m in t.modules:
                by_module[m] += t.bytes * sizes.get(m, 1) / whole / len(rounds)
    return Traffic(
        total_bytes=sum(t.bytes for t in transfers),
        per_round_bytes=sum(by_kind.values()),
        by_kind_bytes=dict(sorted(by_kind.items())),
        by_module_bytes=dict(sorted(by_module.items())),
        by_round_bytes={r: dict(sorted(kinds.items())) for r, kinds in sorted(by_round.items())},
    )


def energy(
    plan: Plan, events: Events, rounds: range, modelled: float | None, modelled_parts: dict[str, float]
) -> Energy:
    """Means are over `rounds`."""
    if not rounds:
        return Energy(modelled=modelled, modelled_parts=modelled_parts)
    sent = [t for t in events.transfers if t.round is not None and t.round in rounds]
    course = Course(plan, events)
    priced = [t for t in sent if is_priced(course.at(t.round), t)]
    left_out = [t for t in sent if t.purpose == "aggregate" and not is_priced(course.at(t.round), t)]
    computed = [p for p in events.phases if p.round is not None and p.round in rounds]
    return Energy(
        modelled=modelled,
        modelled_parts=modelled_parts,
        measured=sum(t.energy_j for t in priced) / len(rounds),
        measured_parts=_by([(part_of(t), t.energy_j) for t in priced], len(rounds)),
        compute=sum(p.energy_j for p in computed) / len(rounds),
        compute_parts=_by([(p.phase, p.energy_j) for p in computed], len(rounds)),
        downlink=sum(t.energy_j for t in left_out) / len(rounds),
        source={
            "measured": _sources(t.energy_source for t in priced),
            "compute": _sources(p.energy_source for p in computed),
        },
    )


def _by(pairs: Iterable[tuple[str, float]], count: int) -> dict[str, float]:
    totals: dict[str, float] = defaultdict(float)
    for name, amount in pairs:
        totals[name] += amount / count
    return dict(sorted(totals.items()))


def _sources(sources: Iterable[str]) -> str:
    """What stands before the colon, each once: `model`, `RAPL`."""
    return ", ".join(sorted({s.partition(":")[0].strip() for s in sources})) or "none"
