"""A child that says too much is read more slowly."""

from __future__ import annotations

import pytest

from node.wire import allowance
from node.wire.allowance import Allowance


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(allowance.time, "monotonic", lambda: now[0])
    return now


def test_a_busy_moment_is_not_slowed_down_and_a_flood_is(clock: list[float]) -> None:
    """A hundred a second for each node below, after a burst of four thousand."""
    one = Allowance(1)
    assert sum(one.take(1) for _ in range(4000)) == 0
    read = 4000
    while clock[0] < 160.0:
        clock[0] += one.take(1) or 1e-3
        read += 1
    assert read == pytest.approx(4000 + 60 * 100, rel=0.05)


def test_what_speaks_for_many_may_say_more(clock: list[float]) -> None:
    many = Allowance(50)
    assert many.take(200_000) == 0
    assert many.take(5000) == 1.0
    clock[0] += 10.0
    assert many.take(100) == 0


def test_no_wait_is_long(clock: list[float]) -> None:
    assert Allowance(1).take(10**9) == 1.0
