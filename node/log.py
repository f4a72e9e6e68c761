"""What a node says: events, each a flat JSON object that knows its node and its time.

Events travel up the tree and end in the run folder's events.jsonl. Every event has
    t      Unix seconds (start of the phase or transfer, else the moment)
    node   who says it
    life   differs for each start of the node
    seq    counts the events of that life from 1
    kind   one of the kinds below
and the fields of its kind; seconds are `_s`, joules `_j`, bytes `_bytes`, rounds count from 0:
    joined      role, parent, pid, host, version, tls (whether it shows and wants certificates)
    ready       samples {module: training samples}
    lost        child, reason                              a parent misses a child
    returned    child                                      a child that was lost, or in a new life
    regrouped   round, attempt, again, head, edges [[..]], lost [..], broken [[..]], uplink [..], reason
                a cluster goes on without what was lost; again: what its devices had exchanged is exchanged anew
    phase       phase, round, wall_s, cpu_s, energy_j, energy_source
                (load, train, evaluate, aggregate, install, wait; energy of computing only)
    transfer    src, dst, link (d2d, uplink, downlink, backhaul), round,
                purpose (update, aggregate, snapshot),
                modules [..], origins [..], bytes, seconds (first byte to receipt), waited_s (of these: for what a
                relay sends on, for room where it goes, or while the link carried other streams), airtime_s
                (in which the sender was sending), modelled_s, energy_j (airtime x what both ends draw),
                energy_source
    metric      round, task, when (local: before aggregation; aggregated: after), correct, total, accuracy,
                loss (local only), train_samples, baseline (guessing from the question alone), modules [..]
    aggregated  round, module, tier, contributors [..], weight, rule (mean, or a robust one), sha256; at an
                aggregator also rounds (since its version before), senders, drift (root mean square distance of
                what they sent to the mean), step (of the mean, from where they began), norm (of the mean); of a
                robust rule null; at tier
                `cluster` also attempt: of several in one cluster, the highest counts, and has taken the place of
                those before it
    consensus   round, module, step, iterations, disagreement (root mean square, the largest of a device and one of
                its neighbours, before this iteration; null: nothing to compare)
    round       round (the last one), rounds (of its children, in this one of its own), tier, wall_s,
                missing [..], skipped                      an aggregator closes a round
    failed_round  round, tier, attempt, action (repeat, skip), reason    too few took part
    decided     round (the first one), periods {module: {tier: rounds}}, reason (JSON: what it was made from)
                how modules circulate from this round on, as the orchestrator has decided
    failed_transfer  round, peer, attempt, error, message  between this node and its parent; it is tried again
    discarded   round, child, module, reason               an update that came too late
    installed   round, wall_s                              all below have adopted the result
    resumed     round                                      a node goes on after this one, in a new life
    refused     peer (empty: not in the plan), call, error (its class), message, count (of these so far)
    excluded    peer, reason                              refused too often: it takes no part any more
    warning     message
    failed      error, message, exit_code
    left        reason
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

Event = dict[str, Any]
Sink = Callable[[Event], None]


class NodeLog:
    """The log of one node. Sinks see every event once, in order."""

    def __init__(self, node: str, *sinks: Sink) -> None:
        self.node = node
        self.life = secrets.token_hex(4)
        self._sinks = list(sinks)
        self._count = 0
        self._order = threading.Lock()  # computing has a thread of its own

    def add_sink(self, sink: Sink) -> None:
        self._sinks.append(sink)

    def emit(self, kind: str, *, t: float | None = None, **fields: Any) -> None:
        """Tells all sinks. `t` is the start of what is told, when it took time."""
        t = time.time() if t is None else t
        with self._order:
            self._count += 1
            event = {"t": t, "node": self.node, "life": self.life, "seq": self._count, "kind": kind, **fields}
            for sink in self._sinks:
                sink(event)


def encode(event: Event) -> str:
    """One line of JSON."""
    return json.dumps(event, separators=(",", ":"), allow_nan=False, default=float)


def stderr_sink(event: Event) -> None:
    """The event as a plain line for a person, on standard error."""
    clock = time.strftime("%H:%M:%S", time.localtime(event["t"]))
    rest = " ".join(f"{k}={v}" for k, v in event.items() if k not in ("t", "node", "life", "seq", "kind"))
    print(f"{clock} {event['node']} {event['kind']} {rest}", file=sys.stderr, flush=True)
