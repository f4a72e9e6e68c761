"""trace.json: the run as a timeline of all nodes, in the Trace Event Format that Perfetto opens.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU: a process per node, in the
order of the tree; threads `compute` and `net`, and more of a kind where things overlap, since slices of one
thread must nest. A transfer is a slice at both ends, joined by an arrow; rounds are asynchronous slices.
Times are microseconds from the first event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from node.plan import Plan
from orchestrator.record.events import Events, Transfer

_US = 1e6
_COMPUTE, _NET, _LANES = "compute", "net", 1000  # thread ids: compute from 1, net from 1001
TraceEvent = dict[str, Any]


@dataclass(frozen=True)
class _Slice:
    node: str
    thread: str
    start_us: int
    end_us: int
    name: str
    category: str
    args: dict[str, Any]
    flow: tuple[str, int] | None = None  # ("s" where the arrow starts or "f" where it ends, its number)


def trace(plan: Plan, events: Events) -> dict[str, Any]:
    """The whole file as one JSON object."""
    order = {node: pid for pid, node in enumerate(_tree_order(plan), 1)}
    zero_s = min((e.t for e in _timed(events)), default=0.0)
    slices = [s for s in _slices(events, zero_s) if s.node in order]
    found = [*_processes(plan, order), *_rounds(events, order, zero_s)]
    for node in order:
        for thread, first in ((_COMPUTE, 1), (_NET, 1 + _LANES)):
            same = [s for s in slices if s.node == node and s.thread == thread]
            found.extend(_thread(order[node], thread, first, same))
    other = {"run": plan.run_id, "method": plan.method, "zero_unix_s": zero_s}
    return {"traceEvents": found, "displayTimeUnit": "ms", "otherData": other}


def _tree_order(plan: Plan) -> list[str]:
    """The root, then tier by tier, in ascending order within one."""
    found, level = [], [plan.root.id]
    while level:
        found.extend(level)
        level = [child for node in level for child in plan.children(node)]
    return found


def _timed(events: Events) -> Iterable[Any]:
    return [*events.phases, *events.transfers, *events.rounds, *events.joined]


def _slices(events: Events, zero_s: float) -> Iterator[_Slice]:
    for p in events.phases:
        start = _us(p.t - zero_s)
        args = p.model_dump(include={"round", "wall_s", "cpu_s", "energy_j", "energy_source"})
        name = p.phase if p.round is None or p.round < 0 else f"{p.phase} {p.round}"
        yield _Slice(p.node, _COMPUTE, start, start + _us(p.wall_s, 1), name, "phase", args)
    for number, t in enumerate(events.transfers, 1):
        yield from _both_ends(t, number, zero_s)


def _both_ends(t: Transfer, number: int, zero_s: float) -> Iterator[_Slice]:
    start = _us(t.t - zero_s)
    end = start + _us(t.seconds, 1)
    args = t.model_dump(exclude={"t", "node"})
    category = f"transfer,{t.link},{t.purpose}"
    yield _Slice(t.src, _NET, start, end, f"{t.purpose} to {t.dst}", category, args, ("s", number))
    yield _Slice(t.dst, _NET, start, end, f"{t.purpose} from {t.src}", category, args, ("f", number))


def _us(seconds: float, least: int = 0) -> int:
    return max(least, round(seconds * _US))


def _thread(pid: int, name: str, first: int, slices: Sequence[_Slice]) -> Iterator[TraceEvent]:
    """A lane takes the next slice once its last one has ended."""
    free_us: list[int] = []
    for s in sorted(slices, key=lambda s: (s.start_us, s.end_us)):
        lane = next((i for i, end in enumerate(free_us) if end <= s.start_us), len(free_us))
        if lane == len(free_us):
            free_us.append(0)
            label = name if lane == 0 else f"{name} {lane + 1}"
            yield _meta("thread_name", pid, first + lane, name=label)
            yield _meta("thread_sort_index", pid, first + lane, sort_index=first + lane)
        free_us[lane] = s.end_us
        at = {"pid": pid, "tid": first + lane}
        yield {"ph": "X", "ts": s.start_us, "dur": s.end_us - s.start_us, "name": s.name, "cat": s.category,
               "args": s.args, **at}  # fmt: skip
        if s.flow is not None:
            yield _arrow(s, *s.flow, at)


def _arrow(s: _Slice, end: str, number: int, at: TraceEvent) -> TraceEvent:
    """Starts with the sender's slice; binds to the slice around it at the receiver (`bp: e`)."""
    when = s.start_us if end == "s" else s.end_us - 1
    arrow = {"ph": end, "ts": when, "id": number, "name": "payload", "cat": "transfer", **at}
    return arrow if end == "s" else {**arrow, "bp": "e"}


def _processes(plan: Plan, order: dict[str, int]) -> Iterator[TraceEvent]:
    for node, pid in order.items():
        yield _meta("process_name", pid, 0, name=node)
        yield _meta("process_labels", pid, 0, labels=plan.by_id[node].tier)
        yield _meta("process_sort_index", pid, 0, sort_index=pid)


def _meta(what: str, pid: int, tid: int, **args: Any) -> TraceEvent:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args}


def _rounds(events: Events, order: dict[str, int], zero_s: float) -> Iterator[TraceEvent]:
    for number, e in enumerate(events.rounds, 1):
        if e.node not in order:
            continue
        first = e.round - e.rounds + 1
        name = f"round {e.round}" if e.rounds == 1 else f"rounds {first} to {e.round}"
        same = {"name": name, "cat": "round", "id": number, "pid": order[e.node], "tid": 0}
        start = _us(e.t - zero_s)
        yield {"ph": "b", "ts": start, "args": {"tier": e.tier, "missing": list(e.missing)}, **same}
        yield {"ph": "e", "ts": start + _us(e.wall_s, 1), **same}
