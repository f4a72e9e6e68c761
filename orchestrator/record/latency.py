"""The latency of a round, as modelled and as measured, in several readings that must not be mixed up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from node.plan import Plan
from orchestrator.cost.pricing import Cost
from orchestrator.record.course import Course
from orchestrator.record.critical_path import CriticalPath, Span, chain, is_priced
from orchestrator.record.events import Amount, Events, Transfer


class Latency(BaseModel):
    """Seconds per round of the devices. None: not known, or no round was done."""

    model_config = ConfigDict(frozen=True)
    modelled: Amount | None = None  # from the plan, by cost.py: transfers only
    measured_transfers: Amount | None = (
        None  # critical path of the measured transfers: compare with `modelled`
    )
    measured: Amount | None = None  # the same, each device's own CPU time of training before its transfers
    wall: Amount | None = None  # clock of the root: all processes share the cores of their machine
    replayed: Amount | None = None  # critical path of the same transfers, each at its modelled seconds
    install_s: Amount | None = None  # the way back to the devices, as far as the model leaves it out
    modelled_parts: dict[str, Amount] = {}  # kind of link, or `answer`; sums to `modelled`
    measured_parts: dict[str, Amount] = {}  # the same, and `train`; sums to `measured`


def latency(plan: Plan, events: Events, used: range, modelled: Cost | None) -> Latency:
    """Means are over the rounds `used`, the wall clock's over all rounds that the root closed."""
    modelled_s = modelled.latency_s if modelled else None
    modelled_parts = modelled.parts.get("latency_s", {}) if modelled else {}
    if not used:
        return Latency(modelled=modelled_s, modelled_parts=modelled_parts)

    course = Course(plan, events)

    def path(training: bool, replayed: bool = False) -> Span:
        return chain(
            CriticalPath(part, events, with_training=training, replayed=replayed).over(rounds)
            for part, rounds in course.parts(used)
        )

    measured, sent, replayed = path(True), path(False), path(False, replayed=True)
    return Latency(
        modelled=modelled_s,
        modelled_parts=modelled_parts,
        measured_transfers=sent.seconds / len(used),
        measured=measured.seconds / len(used),
        measured_parts={part: s / len(used) for part, s in sorted(measured.parts.items())},
        wall=_wall_s(plan, events),
        replayed=replayed.seconds / len(used),
        install_s=install_s(course, events.transfers, used),
    )


def _wall_s(plan: Plan, events: Events) -> float | None:
    """Of the rounds of the root, and of the installing after them."""
    closed = [e for e in events.rounds if e.node == plan.root.id]
    last = {e.round for e in closed}
    installed = [e for e in events.installed if e.node == plan.root.id and e.round in last]
    count = sum(e.rounds for e in closed)
    total = sum(e.wall_s for e in closed) + sum(e.wall_s for e in installed)
    return total / count if count else None


def install_s(course: Course, transfers: Sequence[Transfer], rounds: range) -> float:
    """Seconds per round of the way back that the modelled latency leaves out: per round, the longest chain
    of aggregates that were handed down."""
    by_round: dict[int, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for t in transfers:
        if t.round is None or t.round not in rounds or t.purpose != "aggregate":
            continue
        if not is_priced(course.at(t.round), t):
            below = by_round[t.round][t.src]
            below[t.dst] = below.get(t.dst, 0.0) + t.seconds
    total = sum(max(_depth_s(below, src, ()) for src in list(below)) for below in by_round.values())
    return total / len(rounds) if rounds else 0.0


def _depth_s(below: dict[str, dict[str, float]], node: str, above: tuple[str, ...]) -> float:
    if node in above:  # events that go in circles are not a way down
        return 0.0
    ways = below.get(node, {}).items()
    return max((s + _depth_s(below, dst, (*above, node)) for dst, s in ways), default=0.0)
