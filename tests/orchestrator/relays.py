"""A cluster whose relays send on what comes as it comes, played chunk by chunk: what its nodes would log.

It knows nothing of the model's formulas: a link carries one chunk after the other, a relay has a window for each
payload that comes in, and a sum needs the same chunk of all that are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from node.plan import Cluster, Plan, Relay
from node.routing import path
from node.wire.pacing import CUT_BYTES, chunk_bytes

WINDOW = 8  # chunks


@dataclass
class Flow:
    """One payload on one link."""

    src: str
    dst: str
    origin: str
    inputs: list[Flow]
    chunks: int
    chunk_s: float
    ends: list[float] = field(default_factory=list)  # of the chunks sent so far
    waited_s: float = 0.0
    outlet: Flow | None = None  # what the receiver makes of it

    def ready(self, begin: Mapping[str, float], hold: bool) -> float | None:
        """When the next chunk can go; None: not yet known. `hold`: a relay waits for whole payloads."""
        k = len(self.ends)
        if k == self.chunks:
            return None
        needed = self.chunks - 1 if hold else k
        if any(len(one.ends) <= needed for one in self.inputs):
            return None
        own = max([begin[self.src], *(one.ends[needed] for one in self.inputs)])
        room = 0.0
        if self.outlet is not None and k >= WINDOW and not hold:
            if len(self.outlet.ends) <= k - WINDOW:
                return None
            room = self.outlet.ends[k - WINDOW]
        return max(own, room, self.ends[-1] if self.ends else 0.0)


def flows_of(plan: Plan, cluster: Cluster, relay: Relay, size_bytes: int) -> list[Flow]:
    hops = cluster.toward_head
    made: dict[tuple[str, str], Flow] = {}
    for origin in sorted(hops, key=lambda n: -len(path(hops, n))):  # the farthest first
        way = path(hops, origin)
        for src, dst in way[:1] if relay is Relay.AGGREGATE else way:
            link = plan.link(src, dst)
            assert link is not None
            count = -(-size_bytes // chunk_bytes(link, CUT_BYTES))
            inputs = [f for f in made.values() if f.dst == src and f.origin == origin]
            if relay is Relay.AGGREGATE:
                inputs = [f for f in made.values() if f.dst == src]
            made[src, origin] = flow = Flow(src, dst, origin, inputs, count, link.seconds(size_bytes) / count)
            for one in inputs:
                one.outlet = flow
    return list(made.values())


def play(flows: list[Flow], begin: Mapping[str, float], hold: bool = False) -> None:
    """`begin`: when each node has trained."""
    free = dict.fromkeys(((f.src, f.dst) for f in flows), 0.0)
    while any(len(f.ends) < f.chunks for f in flows):
        ready = [(t, f) for f in flows if (t := f.ready(begin, hold)) is not None]
        start, flow = min(((max(t, free[f.src, f.dst]), f) for t, f in ready), key=itemgetter(0))
        before = flow.ends[-1] if flow.ends else _start(flow, begin)
        flow.waited_s += max(0.0, start - before)
        flow.ends.append(start + flow.chunk_s)
        free[flow.src, flow.dst] = start + flow.chunk_s


def told(flows: list[Flow], begin: Mapping[str, float], size_bytes: int, plan: Plan) -> list[dict[str, Any]]:
    """The events: each has trained until it begins, and a transfer starts when its sender knows what it sends."""
    events: list[dict[str, Any]] = [
        {"t": 0.0, "node": node, "kind": "phase", "phase": "train", "round": 0, "wall_s": t, "cpu_s": 1.0}
        for node, t in begin.items()
    ]
    for f in flows:
        link = plan.link(f.src, f.dst)
        assert link is not None
        start = max([begin[f.src], *(_start(one, begin) for one in f.inputs)])
        events.append(
            {"t": start, "node": f.src, "kind": "transfer", "src": f.src, "dst": f.dst, "link": "d2d", "round": 0,
             "purpose": "update", "modules": ["adapter"], "origins": [f.origin], "bytes": size_bytes,
             "seconds": f.ends[-1] - start, "waited_s": f.waited_s, "modelled_s": link.seconds(size_bytes)}
        )  # fmt: skip
    return events


def _start(flow: Flow, begin: Mapping[str, float]) -> float:
    return max([begin[flow.src], *(_start(one, begin) for one in flow.inputs)])
