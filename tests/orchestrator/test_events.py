"""What nodes have told, read."""

from __future__ import annotations

from itertools import count
from typing import Any

from orchestrator.record.events import read_events

CLOCK = count()


def told(kind: str, node: str, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "t": float(next(CLOCK)), "node": node, **fields}


def sent(node: str, round_index: int | None, seconds: float) -> dict[str, Any]:
    fields = {"src": node, "dst": "e0", "link": "uplink", "bytes": 8, "seconds": seconds, "modules": ["m"]}
    return told("transfer", node, round=round_index, origins=[node], **fields)


def test_a_round_that_is_done_again_counts_as_it_was_done_last() -> None:
    """d0 is killed in its round 1, which it does again; d1 goes on, and so does what has no round."""
    raw = [
        told("joined", "d0"), told("joined", "d1"),
        sent("d0", 0, 1.0), sent("d1", 0, 1.0),
        sent("d0", 1, 2.0), sent("d1", 1, 2.0), sent("d0", None, 9.0),
        told("joined", "d0"),
        sent("d0", 1, 3.0), sent("d0", 2, 4.0), sent("d1", 2, 4.0),
    ]  # fmt: skip
    found = [(t.node, t.round, t.seconds) for t in read_events(raw).transfers]
    assert found == [
        ("d0", 0, 1.0), ("d1", 0, 1.0), ("d1", 1, 2.0), ("d0", None, 9.0),
        ("d0", 1, 3.0), ("d0", 2, 4.0), ("d1", 2, 4.0),
    ]  # fmt: skip
    assert len(read_events(raw).joined) == 3


def test_what_only_the_first_life_told_stays() -> None:
    """It had said how well it does before it was killed, and says afterwards how well the aggregate does."""
    score = {"round": 1, "task": "t", "correct": 1, "total": 2}
    raw = [
        told("joined", "d0"), told("metric", "d0", when="local", **score),
        told("joined", "d0"), told("metric", "d0", when="aggregated", **score),
    ]  # fmt: skip
    assert [m.when for m in read_events(raw).metrics] == ["local", "aggregated"]


def test_what_a_node_sends_twice_in_one_life_was_sent_twice() -> None:
    raw = [told("joined", "d0"), sent("d0", 0, 1.0), sent("d0", 0, 2.0)]
    assert [t.seconds for t in read_events(raw).transfers] == [1.0, 2.0]
