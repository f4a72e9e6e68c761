"""The timeline: what the Trace Event Format and Perfetto ask for."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from orchestrator.plans.resolve import resolve
from orchestrator.record.events import read_events
from orchestrator.record.trace import trace
from tests.orchestrator.scenarios import shipped
from tests.orchestrator.streams import Stream


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    plan = resolve(shipped("quickstart"), "hf-fm+d2d-2")
    return json.loads(json.dumps(trace(plan, read_events(Stream(plan).play(4))), allow_nan=False))


def of(made: dict[str, Any], *phases: str) -> list[dict[str, Any]]:
    return [e for e in made["traceEvents"] if e["ph"] in phases]


def test_a_process_per_node_in_the_order_of_the_tree(made: dict[str, Any]) -> None:
    names = {e["pid"]: e["args"]["name"] for e in of(made, "M") if e["name"] == "process_name"}
    order = {e["pid"]: e["args"]["sort_index"] for e in of(made, "M") if e["name"] == "process_sort_index"}
    tiers = [names[pid].rstrip("0123456789-") for pid in sorted(order, key=lambda pid: order[pid])]
    assert tiers == ["cloud", "edge", "edge", *["device"] * 8]


def test_threads_are_named_and_used(made: dict[str, Any]) -> None:
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in of(made, "M") if e["name"] == "thread_name"}
    assert {(e["pid"], e["tid"]) for e in of(made, "X", "s", "f")} == set(named)
    assert {name.split()[0] for name in named.values()} == {"compute", "net"}


def test_times_are_not_negative_and_slices_of_a_thread_do_not_overlap(made: dict[str, Any]) -> None:
    threads: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for e in of(made, "X"):
        assert e["ts"] >= 0
        assert e["dur"] >= 1
        threads[e["pid"], e["tid"]].append((e["ts"], e["ts"] + e["dur"]))
    for slices in threads.values():
        assert slices == sorted(slices)
        assert all(a[1] <= b[0] for a, b in pairwise(slices))


def test_every_arrow_has_two_ends_inside_slices(made: dict[str, Any]) -> None:
    ends: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for e in of(made, "s", "f"):
        ends[e["id"]].append(e)
        assert any(
            (x["pid"], x["tid"]) == (e["pid"], e["tid"]) and x["ts"] <= e["ts"] < x["ts"] + x["dur"]
            for x in of(made, "X")
        )
    assert ends
    for pair in ends.values():
        start, end = sorted(pair, key=lambda e: e["ph"], reverse=True)
        assert (start["ph"], end["ph"], end["bp"]) == ("s", "f", "e")
        assert start["pid"] != end["pid"]
        assert start["ts"] <= end["ts"]


def test_rounds_begin_and_end(made: dict[str, Any]) -> None:
    begun = {(e["cat"], e["id"], e["pid"]): e["ts"] for e in of(made, "b")}
    ended = {(e["cat"], e["id"], e["pid"]): e["ts"] for e in of(made, "e")}
    assert begun.keys() == ended.keys()
    assert all(begun[key] < ended[key] for key in begun)
    assert {e["name"] for e in of(made, "b")} == {"rounds 0 to 1", "rounds 2 to 3"}


def test_transfers_say_what_and_how_fast(made: dict[str, Any]) -> None:
    sent = next(e for e in of(made, "X") if e["cat"] == "transfer,d2d,update")
    assert {"bytes", "seconds", "modelled_s", "modules", "round", "energy_j"} <= sent["args"].keys()


def test_strangers_and_nothing() -> None:
    plan = resolve(shipped("quickstart"), "star")
    assert of(trace(plan, read_events([])), "X") == []
    odd = {"t": 5, "node": "x", "kind": "phase", "phase": "train", "wall_s": 1}
    assert of(trace(plan, read_events([odd])), "X") == []
