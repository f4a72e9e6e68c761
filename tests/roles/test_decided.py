"""Circulation that changes on the way: every node uses the same one in every round."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import cast

import grpc
import pytest
from hffm.v1 import control_pb2 as pb
from hffm.v1.payload_pb2 import PURPOSE_UPDATE, Manifest

from node.errors import BusyError
from node.log import NodeLog
from node.plan import Circulation, CirculationChange, Cluster, Link, LinkKind, Plan, Policy, Relay
from node.roles.aggregator import Aggregator
from node.roles.exchanges import Exchanges
from node.roles.journal import Journal
from node.roles.member import Member
from node.roles.neighbour import Neighbour
from node.wire.circulating import message_of
from node.wire.family import Family
from tests.federation import federation, make_plan, module

PARENTS = {
    "cloud": None, "edge-0": "cloud", "edge-1": "cloud",
    "a": "edge-0", "b": "edge-0", "c": "edge-1", "d": "edge-1",
}  # fmt: skip
TIERS = {"cloud": "cloud", "edge-0": "edge", "edge-1": "edge"}
NEAR = {"cluster": 1, "edge": 2, "cloud": 2}
FAR = {"edge": 1, "cloud": 2}


def plan() -> Plan:
    pairs = [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]
    clusters = (
        Cluster(parent="edge-0", head="a", edges=(("a", "b"),), relay=Relay.AGGREGATE),
        Cluster(parent="edge-1", head="d", edges=(("c", "d"),)),
    )
    return make_plan(
        PARENTS,
        TIERS,
        (module("adapter", **FAR), module("prompt", **FAR)),
        links=tuple(Link(src=a, dst=b, kind=LinkKind.D2D, rate_bps=1e9) for a, b in pairs),
        clusters=clusters,
        policy=Policy(budget_s=1.0, longest=2, modules=("adapter", "prompt")),
        links_backend="none",
    )


def change_from(first_round: int, periods: dict[str, dict[str, int]]) -> CirculationChange:
    return CirculationChange(first_round=first_round, periods=periods)


async def ordered(running, count, change=None):
    await running.until("ready")
    request = pb.StartRoundsRequest(count=count, reason=json.dumps({"why": "a test"}))
    if change is not None:
        request.circulation.CopyFrom(message_of(change))
    await running.control.StartRounds(request)
    await running.until("ready")


def test_from_the_round_of_the_decision_on_all_tiers_follow_it(monkeypatch):
    """By the uplink, then device to device, then in the clusters alone; and again as decided, not as planned."""
    asyncio.run(_follow(monkeypatch))


async def _follow(monkeypatch):
    async with federation(plan(), monkeypatch) as running:
        await ordered(running, 2)
        change = change_from(2, {"adapter": NEAR, "prompt": {"edge": 2}})
        await ordered(running, 2, change)
        await ordered(running, 2)
        averaged: dict[tuple[str, str], set[int]] = {}
        for event in running.kind("aggregated"):
            averaged.setdefault((event["module"], event["tier"]), set()).add(event["round"])
        assert averaged == {
            ("adapter", "edge"): {0, 1, 3, 5},
            ("adapter", "cloud"): {1, 3, 5},
            ("adapter", "cluster"): {2, 3, 4, 5},
            ("prompt", "edge"): {0, 1, 3, 5},
            ("prompt", "cloud"): {1},
        }
        whole = [e for e in running.kind("aggregated") if e["tier"] == "cloud" and e["module"] == "adapter"]
        assert all(e["contributors"] == ["a", "b", "c", "d"] for e in whole)
        (said,) = running.kind("decided")
        assert (said["round"], json.loads(said["reason"])) == (2, {"why": "a test"})
        assert not running.kind("refused")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            CirculationChange(first_round=3, periods={"adapter": FAR}),
            "it changes at the next round, 2, and every 2",
        ),
        (change_from(2, {"other": FAR}), "'other'.*not of this plan"),
        (
            CirculationChange(first_round=2, periods={"adapter": {"edge": 3}}),
            "'adapter' every 3 rounds: no divisor",
        ),
    ],
)
def test_a_change_that_would_part_the_tiers_is_refused(monkeypatch, change, why):
    asyncio.run(_refused(monkeypatch, change, why))


async def _refused(monkeypatch, change, why):
    async with federation(plan(), monkeypatch) as running:
        await ordered(running, 2)
        with pytest.raises(grpc.aio.AioRpcError, match=why):
            await ordered(running, 2, change)
        await ordered(running, 2)  # and the run goes on as before
        assert not running.kind("decided")


def test_a_decision_outlives_the_process(tmp_path):
    """In the journal, so that a root in its next life goes on with the rounds as they were ordered."""
    here, log = plan(), NodeLog("cloud")
    change = change_from(2, {"adapter": NEAR})

    def born() -> Aggregator:
        node = Aggregator(here, "cloud", log, Family(here, "cloud", log))
        node.journal = Journal(tmp_path, here, "cloud", log)
        return node

    first = born()
    first.circulation.follow(change)
    assert first.journal is not None
    asyncio.run(first.keep())
    first.journal.close()
    second = born()
    second.resume()
    assert second.circulation.changes == (change,)
    adapter = here.modules[0]
    assert [second.circulation.due(adapter, "edge", r) for r in range(4)] == [True, True, False, True]


def test_a_peer_that_was_told_first_is_asked_to_wait():
    """Whether a round goes device to device is not guessed from what was in force before: that would refuse it."""
    here = plan()
    circulation = Circulation(here)
    member = SimpleNamespace(plan=here, node=here.node("a"), circulation=circulation, round=1)
    device = cast(Member, member)
    neighbour = Neighbour(device, Exchanges(device, here.clusters[0]))
    early = Manifest(run_id="test", round=2, module="adapter", sender="b", purpose=PURPOSE_UPDATE)
    circulation.tell(2)
    with pytest.raises(BusyError, match="payload of round 2 from 'b' is early"):
        neighbour.admit(early, "b")
    circulation.follow(change_from(2, {"adapter": NEAR}))
    circulation.tell(4)
    assert neighbour.admit(early, "b").name == "adapter"
    assert Circulation(here.replace(policy=None)).is_known(7), "as planned, for ever"
