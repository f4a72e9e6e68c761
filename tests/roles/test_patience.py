"""Rounds with too few, or too late: what the scenario says is done, and the log says who was missing and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from node.learning.learner import Trained
from node.payload import Values
from node.plan import Limits, Link, LinkKind, Plan
from tests.federation import FAST, ArithmeticLearner, Federation, federation, make_plan, module

TREE = {"cloud": None, "e0": "cloud", "e1": "cloud", "d0": "e0", "d1": "e0", "d2": "e1"}
TIERS = {"cloud": "cloud", "e0": "edge", "e1": "edge"}


class LateLearner(ArithmeticLearner):
    """d1 takes its time in the first round."""

    def train(self, modules: Mapping[str, Values], round_index: int) -> Trained:
        if self._device == "d1" and round_index == 0:
            time.sleep(7.0)
        return super().train(modules, round_index)


def plan(**limits: object) -> Plan:
    patience = FAST.model_copy(update={"round_s": 2.0, "stall_s": 2.0, **limits})
    return make_plan(TREE, TIERS, (module(edge=1, cloud=1),), limits=Limits(**patience.model_dump()))


def ran(plan: Plan, rounds: int, monkeypatch: pytest.MonkeyPatch, learner: type = LateLearner) -> Federation:
    async def main() -> Federation:
        async with federation(plan, monkeypatch) as running:
            monkeypatch.setattr("node.roles.device.Learner", learner)
            await running.rounds(rounds)
            return running

    monkeypatch.setattr("node.roles.device.Learner", learner)
    # As on machines of their own: a late device holds up no other one of this process.
    with ThreadPoolExecutor(len(plan.nodes)) as learners:
        monkeypatch.setattr("node.roles.device._LEARNERS", learners)
        return asyncio.run(main())


def contributors(running: Federation, tier: str) -> dict[int, list[str]]:
    return {e["round"]: e["contributors"] for e in running.kind("aggregated") if e["tier"] == tier}


def test_a_late_update_is_discarded_and_its_device_takes_part_again(monkeypatch):
    running = ran(plan(quorum=0.5), 9, monkeypatch)
    cloud = contributors(running, "cloud")
    assert cloud[0] == ["d0", "d2"]
    assert all({"d0", "d2"} <= set(devices) for devices in cloud.values())
    closed = {e["round"]: e for e in running.kind("round") if e["node"] == "e0"}
    assert closed[0]["missing"] == ["d1: round 0 not done"]
    late = running.kind("discarded")
    assert {(e["child"], e["round"]) for e in late} == {("d1", 0)}
    assert "is late" in late[0]["reason"]


def test_a_failed_round_is_repeated_until_all_have_reported(monkeypatch):
    running = ran(plan(on_failed_round="repeat", failed_rounds=9), 2, monkeypatch)
    failed = running.kind("failed_round")
    assert {(e["node"], e["action"]) for e in failed} >= {("e0", "repeat")}
    assert "'d1': round 0 not done" in next(e["reason"] for e in failed if e["node"] == "e0")
    assert contributors(running, "cloud") == {r: ["d0", "d1", "d2"] for r in range(2)}
    trained = [e for e in running.kind("phase") if e["phase"] == "train"]
    assert len(trained) == 6, "nobody trains a round twice"


def test_a_slow_link_that_moves_is_not_cut(monkeypatch):
    """The transfer takes three times as long as a round may, and no pause of it as long as a stall."""
    link = Link(src="d2", dst="e1", kind=LinkKind.UPLINK, rate_bps=0.16e6, power_w=0.8)
    slow = plan().replace(links=(link,), payload_bytes=120_000)
    running = ran(slow, 1, monkeypatch, ArithmeticLearner)
    (sent,) = [e for e in running.kind("transfer") if (e["src"], e["purpose"]) == ("d2", "update")]
    assert sent["seconds"] > slow.limits.round_s + slow.limits.stall_s
    assert contributors(running, "cloud") == {0: ["d0", "d1", "d2"]}


def test_a_failed_round_is_skipped_and_the_next_one_averages_again(monkeypatch):
    running = ran(plan(on_failed_round="skip", failed_rounds=9), 9, monkeypatch)
    failed = [e for e in running.kind("failed_round") if e["node"] == "e0"]
    assert {e["action"] for e in failed} == {"skip"}
    assert failed[0]["round"] == 0
    closed = {e["round"]: e["skipped"] for e in running.kind("round") if e["node"] == "e0"}
    assert closed[0]
    averaged = [e["round"] for e in running.kind("aggregated") if e["node"] == "e0"]
    assert averaged == [r for r, skipped in sorted(closed.items()) if not skipped]
