"""What a node says: events, each a flat JSON object that knows its node and its time.

Events travel up the tree and end in the run folder's events.jsonl. Every event has
    t      Unix seconds (start of the phase or transfer, else the moment)
    node   who says it
    seq    counts that node's events from 1
    kind   one of the kinds below
and the fields of its kind; seconds are `_s`, joules `_j`, bytes `_bytes`, rounds count from 0:
    joined      role, parent, pid, host, version
    ready       samples {module: training samples}
    lost        child, reason                              a parent misses a child
    regrouped   round, attempt, head, edges [[..]], uplink [..], reason     a parent names a head or other ways
    phase       phase, round, wall_s, cpu_s, energy_j, energy_source
                (load, train, evaluate, aggregate, install, wait; energy of computing only)
    transfer    src, dst, link (d2d, uplink, downlink, backhaul), round,
                purpose (update, aggregate, snapshot),
                modules [..], origins [..], bytes, seconds (first byte to receipt), airtime_s
                (in which the sender was sending: a relay also waits for what it sends on), modelled_s, energy_j
                (airtime x the link's power), energy_source
    metric      round, task, when (local: before aggregation; aggregated: after), correct, total, accuracy,
                loss (local only), train_samples, baseline (guessing from the question alone), modules [..]
    aggregated  round, module, tier, contributors [..], weight, sha256
    consensus   round, module, step, iterations, disagreement (root mean square, the largest of a device and one of
                its neighbours, before this iteration; null: nothing to compare)
    round       round (the last one), rounds (of its children, in this one of its own), tier, wall_s,
                missing [..]                               an aggregator closes a round
    installed   round, wall_s                              all below have adopted the result
    warning     message
    failed      error, message, exit_code
    left        reason
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Sink = Callable[[Event], None]


class NodeLog:
    """The log of one node. Sinks see every event once, in order."""

    def __init__(self, node: str, *sinks: Sink) -> None:
        self.node = node
        self._sinks = list(sinks)
        self._count = 0

    def add_sink(self, sink: Sink) -> None:
        self._sinks.append(sink)

    def emit(self, kind: str, *, t: float | None = None, **fields: Any) -> None:
        """Tells all sinks. `t` is the start of what is told, when it took time."""
        self._count += 1
        t = time.time() if t is None else t
        event = {"t": t, "node": self.node, "seq": self._count, "kind": kind, **fields}
        for sink in self._sinks:
            sink(event)


def encode(event: Event) -> str:
    """One line of JSON."""
    return json.dumps(event, separators=(",", ":"), allow_nan=False, default=float)


def stderr_sink(event: Event) -> None:
    """The event as a plain line for a person, on standard error."""
    clock = time.strftime("%H:%M:%S", time.localtime(event["t"]))
    rest = " ".join(f"{k}={v}" for k, v in event.items() if k not in ("t", "node", "seq", "kind"))
    print(f"{clock} {event['node']} {event['kind']} {rest}", file=sys.stderr, flush=True)
