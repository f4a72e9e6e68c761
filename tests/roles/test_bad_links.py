"""Links that are cut, freeze or crawl in mid-transfer: each payload is resumed, arrives whole, and counts once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from node.model.schema import initial_module
from node.plan import Limits, Plan, Relay
from node.wire.intake import Intake, Reception
from node.wire.landing import key_of
from tests.federation import FAST, Federation, federation, make_plan, module, samples_of
from tests.roles.clusters import cluster_plan, graph
from tests.roles.test_rounds import average
from tests.weather import Weather, storms, weathered

PERIODS = {"cluster": 1, "edge": 1, "cloud": 1}
SIZE = 500_000  # values
DEVICES = ["d0", "d1", "d2"]
PATIENT = Limits(**{**FAST.model_dump(), "round_s": 40.0, "lease_s": 15.0, "stall_s": 10.0, "join_s": 40.0})


def played(
    plan: Plan, weather: dict[str, Weather], monkeypatch: pytest.MonkeyPatch, rounds: int
) -> tuple[Federation, dict[tuple[str, str], Any]]:
    async def main() -> tuple[Federation, dict[tuple[str, str], Any]]:
        async with (
            weathered(plan, weather, monkeypatch) as root,
            federation(plan, monkeypatch, root=root) as running,
        ):
            await running.rounds(rounds, timeout_s=100)
            return running, await running.modules()

    return asyncio.run(main())


def counted(monkeypatch: pytest.MonkeyPatch) -> tuple[Counter[Any], Counter[Any]]:
    """Bytes that receivers have put into each payload, and what each was announced with."""
    fed: Counter[Any] = Counter()
    announced: Counter[Any] = Counter()
    feed = Intake.feed

    def noted(self: Intake, reception: Reception, chunk: memoryview) -> None:
        feed(self, reception, chunk)
        key = (id(self), key_of(reception.landing.manifest))
        fed[key] += len(chunk)
        announced[key] = reception.landing.total

    monkeypatch.setattr(Intake, "feed", noted)
    return fed, announced


def test_links_cut_at_random_points_lose_nothing_and_count_nothing_twice(monkeypatch):
    """More seeds, and the other ways of relaying: tests/long."""
    check_cuts(Relay.AGGREGATE, 1, monkeypatch)


def check_cuts(relay: Relay, seed: int, monkeypatch: pytest.MonkeyPatch, count: int = 3) -> tuple[int, int]:
    """Uplinks, downlinks, backhauls and links between devices: so many cuts on the way to each node.

    How many there were, and how many bytes all links carried.
    """
    rng = random.Random(seed)
    plan = cluster_plan(
        graph("line", 3), relay, modules=(module("adapter", SIZE, **PERIODS),), limits=PATIENT
    )
    weather = {name: storms(rng, count, 4 * SIZE) for name in ("cloud", "e0", "d0", "d1")}
    fed, announced = counted(monkeypatch)
    running, modules = played(plan, weather, monkeypatch, rounds=2)
    cuts = sum(one.cut_count for one in weather.values())
    assert cuts >= 2 * count
    weight = sum(samples_of(d, "adapter") for d in DEVICES)
    for tier in ("edge", "cloud"):
        made = [(e["contributors"], e["weight"]) for e in running.kind("aggregated") if e["tier"] == tier]
        assert made == [(DEVICES, weight)] * 2
    start = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    expected = average(average(start, DEVICES, 0), DEVICES, 1)["adapter"]
    np.testing.assert_allclose(modules["cloud", "adapter"], expected, rtol=0, atol=4e-7)
    assert all(fed[key] <= announced[key] for key in fed), "a transfer began anew instead of going on"
    return cuts, sum(one.carried_bytes for one in weather.values())


def star(size: int, devices: Sequence[str], **limits: Any) -> Plan:
    patience = Limits(**{**PATIENT.model_dump(), **limits})
    parents = {"cloud": None, **dict.fromkeys(devices, "cloud")}
    return make_plan(parents, {"cloud": "cloud"}, (module("adapter", size, cloud=1),), limits=patience)


def test_a_push_that_stalls_is_tried_again_and_goes_on(monkeypatch):
    """A link that stands still for longer than a stall may last, and less than the lease."""
    plan = star(SIZE, ["d0", "d1"], stall_s=1.0)
    frozen = Weather(frozen_after=1_000_000, frozen_s=3.0)
    fed, announced = counted(monkeypatch)
    running, _ = played(plan, {"cloud": frozen}, monkeypatch, rounds=1)
    (made,) = running.kind("aggregated")
    assert made["contributors"] == ["d0", "d1"]
    failed = running.kind("failed_transfer")
    assert {(e["peer"], e["error"]) for e in failed} == {("cloud", "TransferStalled")}
    assert failed[0]["attempt"] == 1
    assert fed == announced
