"""Device to device over shaped links: every way of relaying gives the average, in the time of its model."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from node.model.schema import initial_module
from node.plan import Plan, Relay
from node.roles.exchanges import Exchanges
from node.roles.stages import Combined
from node.wire.channels import Channels
from node.wire.pacing import CUT_BYTES
from node.wire.stream import WINDOW_BYTES
from node.wire.window import Window
from tests.federation import Federation, federation, module
from tests.roles.clusters import cluster_plan, graph
from tests.roles.test_rounds import average
from tests.wire.test_exchange import breaking

STREAMED = [Relay.CUT_THROUGH, Relay.AGGREGATE]


def played(plan: Plan, monkeypatch: pytest.MonkeyPatch, rounds: int = 1) -> tuple[Federation, dict]:
    """The federation after so many rounds, and what its nodes hold."""

    async def play() -> tuple[Federation, dict]:
        async with federation(plan, monkeypatch) as running:
            await running.rounds(rounds)
            return running, await running.modules()

    return asyncio.run(play())


def check_average(plan: Plan, found: dict, running: Federation, rounds: int = 1) -> None:
    """Every device is in the average exactly once, and the tree's average is the flat one."""
    state = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    for r in range(rounds):
        state = average(state, [d.id for d in plan.devices], r)
    head = plan.clusters[0].head
    for name, values in state.items():
        np.testing.assert_allclose(found[head, name], values, rtol=0, atol=2e-7)
    told = [e for e in running.kind("aggregated") if e["module"] == "adapter" and e["tier"] == "cluster"]
    assert [e["contributors"] for e in told] == [[d.id for d in plan.devices]] * rounds
    assert not running.kind("warning")


@pytest.mark.parametrize("relay", list(Relay))
@pytest.mark.parametrize("count", [4, 8])
@pytest.mark.parametrize("kind", ["line", "ring", "star", "tree"])
def test_every_way_of_relaying_gives_the_flat_average(kind, count, relay, monkeypatch):
    plan = cluster_plan(graph(kind, count), relay, payload_bytes=60_000)
    running, found = played(plan, monkeypatch)
    check_average(plan, found, running)


@pytest.mark.parametrize("padded", [False, True])
def test_modules_of_one_round_may_be_relayed_differently(padded, monkeypatch):
    modules = tuple(
        module(f"m{i}", 5000 + i, cluster=1).model_copy(update={"relay": relay})
        for i, relay in enumerate((*Relay, None))
    )
    modules = (module("adapter", 4000, cluster=1), *modules)
    size = 200_000 if padded else None
    plan = cluster_plan(graph("tree", 5), Relay.AGGREGATE, modules=modules, payload_bytes=size)
    running, found = played(plan, monkeypatch, rounds=2)
    check_average(plan, found, running, rounds=2)


def span_s(events: list[dict[str, Any]], purpose: str) -> float:
    """From the first byte to the last receipt of all transfers of the last round."""
    last = max(e["round"] for e in events)
    own = [e for e in events if e["purpose"] == purpose and e["round"] == last]
    return max(e["t"] + e["seconds"] for e in own) - min(e["t"] for e in own)


def test_a_hop_adds_a_chunk_and_not_a_payload(monkeypatch):
    """Four devices in a row, 0.25 s per payload and link: three links in turn, or nearly at once."""
    spans = {}
    for relay in (Relay.STORE_AND_FORWARD, Relay.AGGREGATE):
        plan = cluster_plan(graph("line", 4), relay, payload_bytes=1_250_000)
        running, _ = played(plan, monkeypatch, rounds=2)
        transfers = running.kind("transfer")
        spans[relay] = [span_s(transfers, purpose) for purpose in ("update", "aggregate")]
        assert {round(e["airtime_s"], 2) for e in transfers if e["purpose"] == "aggregate"} == {0.25}
    assert spans[Relay.STORE_AND_FORWARD][0] > 0.75
    assert spans[Relay.STORE_AND_FORWARD][1] > 0.75
    slowest, fastest = max(spans[Relay.AGGREGATE]), min(spans[Relay.STORE_AND_FORWARD])
    assert min(spans[Relay.AGGREGATE]) >= 0.25
    assert slowest < 0.9 * fastest  # 0.35 where the machine is idle


@pytest.mark.parametrize("relay", STREAMED)
def test_a_relay_keeps_a_few_chunks_whatever_the_payload(relay, monkeypatch):
    """Links into the relays are ten times as fast as those out of them."""
    kept: dict[int, int] = {}
    for size in (2_000_000, 6_000_000):
        most, relays = [0], _recorded(Exchanges, monkeypatch)
        sums = _recorded(Combined, monkeypatch)
        rates = {("d3", "d2"): 8e9, ("d2", "d1"): 8e8, ("d1", "d0"): 8e7}
        modules = (module("adapter", size // 4, cluster=1),)
        plan = cluster_plan(graph("line", 4), relay, modules=modules, rate_bps=8e8, rates_bps=rates)
        monkeypatch.setattr(Window, "release", _watching(Window.release, most))
        played(plan, monkeypatch)
        monkeypatch.undo()
        assert len(relays) == 4
        assert max(one.inbox.most_kept_bytes() for one in relays) == 0  # forgotten after the round
        kept[size] = max(most[0], *(one.most_kept_bytes for one in sums), 0)
    assert 0 < max(kept.values()) <= WINDOW_BYTES + 2 * CUT_BYTES


def _recorded(kind: type, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every object of this kind that is made from now on."""
    made: list[Any] = []
    initialize = kind.__init__

    def record(self: Any, *arguments: Any, **named: Any) -> None:
        made.append(self)
        initialize(self, *arguments, **named)

    monkeypatch.setattr(kind, "__init__", record)
    return made


def _watching(release: Any, most: list[int]) -> Any:
    def watched(self: Window, offset: int) -> None:
        most[0] = max(most[0], self.most_kept_bytes)
        release(self, offset)

    return watched


@pytest.mark.parametrize("relay", STREAMED)
def test_a_broken_hop_goes_on_where_it_broke(relay, monkeypatch):
    """The links into both relays break twice in the middle of a payload."""
    modules = (module("adapter", 300_000, cluster=1),)
    plan = cluster_plan(graph("line", 4), relay, modules=modules, rate_bps=80e6)
    addresses = {n.id: str(n.address) for n in plan.nodes}
    straight = Channels.to

    async def play() -> tuple[Federation, dict]:
        async with (
            breaking(addresses["d1"], [400_000, 500_000]) as first,
            breaking(addresses["d0"], [600_000, 300_000]) as second,
        ):
            detours = {addresses["d1"]: first, addresses["d0"]: second}
            monkeypatch.setattr(Channels, "to", lambda self, to: straight(self, detours.get(to, to)))
            async with federation(plan, monkeypatch) as running:
                await running.rounds(1)
                return running, await running.modules()

    running, found = asyncio.run(play())
    check_average(plan, found, running)
