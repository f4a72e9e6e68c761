"""Links in user space, on a clock that only moves when somebody waits."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from node.plan import Link, LinkKind
from node.wire import pacing
from node.wire.pacing import Holds, Pacer, Pacers, Transit

RATE = 8e6  # so that 1 MB takes 1 s


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(pacing.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pacing.asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def link(**properties: float) -> Link:
    return Link(**{"src": "d0", "dst": "e0", "kind": LinkKind.UPLINK, "rate_bps": RATE, **properties})


def arrivals(clock: Clock, transit: Transit, count: int = 20, size_bytes: int = 100_000) -> list[float]:
    """When each chunk of a stream is across, from now on."""

    async def carried() -> list[float]:
        found = []
        for _ in range(count):
            await transit.carry(size_bytes)
            found.append(clock.now)
        return found

    start = clock.now
    return [t - start for t in asyncio.run(carried())]


def test_chunks_follow_each_other_and_pay_the_delay_once(clock: Clock):
    found = arrivals(clock, Pacer(link(delay_s=0.5)).transit())
    assert found == pytest.approx([0.5 + 0.1 * (i + 1) for i in range(20)])


def test_waking_up_late_does_not_add_up(clock: Clock):
    transit = Pacer(link(delay_s=0.5)).transit()
    arrivals(clock, transit, 5)
    clock.now += 0.35
    assert arrivals(clock, transit, 15)[-1] == pytest.approx(1.5 - 0.35)


def test_what_is_lost_is_sent_again(clock: Clock):
    lossy = link(loss=0.2)
    transit = Pacer(lossy).transit()
    assert arrivals(clock, transit)[-1] == pytest.approx(lossy.seconds(2_000_000)) == pytest.approx(2.5)
    assert transit.airtime_s == pytest.approx(2.5)


def test_jitter_is_seeded_and_keeps_order_and_rate(clock: Clock):
    spread = link(delay_s=0.5, jitter_s=0.2)
    found = arrivals(clock, Pacer(spread, seed=1).transit(), 200)
    late = [t - 0.1 * (i + 1) - 0.5 for i, t in enumerate(found)]
    assert all(-0.2 <= one <= 0.2 for one in late)
    assert max(late) > 0.1
    assert all(a <= b for a, b in pairwise(found))
    again, other = (arrivals(clock, Pacer(spread, seed=s).transit(), 200) for s in (1, 2))
    assert again == pytest.approx(found)
    assert other != pytest.approx(found)


def test_where_the_kernel_keeps_the_rate_the_sender_keeps_delay_and_jitter(clock: Clock):
    found = arrivals(clock, Pacer(link(delay_s=0.5, jitter_s=0.1, loss=0.5), Holds.DELAY).transit(), 1)
    assert 0.4 <= found[0] <= 0.6


def test_a_rate_that_changes_holds_from_the_next_chunk_on(clock: Clock):
    pacers = Pacers({"e0": link()})
    transit = pacers.to("e0").transit()
    assert arrivals(clock, transit, 5)[-1] == pytest.approx(0.5)
    pacers.move(link(rate_bps=RATE / 10))
    assert arrivals(clock, transit, 5)[-1] == pytest.approx(5.0)
    pacers.move(link())
    assert arrivals(clock, transit, 5)[-1] == pytest.approx(0.5)


def test_streams_share_a_link(clock: Clock):
    pacer = Pacer(link())
    first, second = pacer.transit(), pacer.transit()
    sent = [arrivals(clock, transit, 1)[0] for transit in (first, second) * 5]
    assert sum(sent) == pytest.approx(1.0)
