"""Rates that change from round to round, on real processes that pace what they send."""

from __future__ import annotations

from typing import Any

import pytest

from node.plan import Link, LinkKind, Move, Plan
from tests.federation import Federation, make_plan, module
from tests.processes import in_processes

RATES = (8e6, 2e6, 8e6)  # of the three rounds
SIZE = 25_000  # values of four bytes: 0.1 s at 8 Mbit/s


def links(rate_bps: float) -> tuple[Link, ...]:
    """Up and down, between two devices and the cloud."""
    ways = ((src, dst, kind) for d in ("d0", "d1") for src, dst, kind in (
        (d, "cloud", LinkKind.UPLINK), ("cloud", d, LinkKind.DOWNLINK)
    ))  # fmt: skip
    return tuple(Link(src=src, dst=dst, kind=kind, rate_bps=rate_bps) for src, dst, kind in ways)


def plan() -> Plan:
    parents = {"cloud": None, "d0": "cloud", "d1": "cloud"}
    moves = tuple(Move(first_round=r, links=links(RATES[r])) for r in (1, 2))
    modules = (module("adapter", SIZE, cloud=1),)
    return make_plan(parents, {"cloud": "cloud"}, modules, links(RATES[0]), moves=moves, rounds=3)


async def play(running: Federation, pids: dict[str, int]) -> list[dict[str, Any]]:
    await running.rounds(3)
    return running.events


def test_both_ways_take_the_rate_of_their_round():
    """No transfer is faster than its round's rate, however busy this machine; at 8 Mbit/s, round 1 would be."""
    sent = [e for e in in_processes(plan(), play) if e["kind"] == "transfer"]
    assert len(sent) == 3 * 2 * 2
    for event in sent:
        assert event["modelled_s"] == pytest.approx(8 * event["bytes"] / RATES[event["round"]])
        assert event["seconds"] > 0.95 * event["modelled_s"]
