"""Every way of relaying with more cuts, and with every lie; and a link that crawls."""

from __future__ import annotations

import pytest

from node.plan import Relay
from node.wire.pacing import CHUNK_BYTES
from tests.roles.test_bad_links import check_cuts, played, star
from tests.roles.test_hostile_neighbours import LIES, check_lie
from tests.weather import Weather

SEEDS, CUTS = range(1, 6), 4
IN_FLIGHT_BYTES = 2 << 20  # of all streams of a connection, when it breaks


@pytest.mark.timeout(600)
@pytest.mark.parametrize("relay", list(Relay))
def test_links_cut_again_and_again_carry_little_twice(relay, monkeypatch):
    with monkeypatch.context() as calm_days:
        _, calm_bytes = check_cuts(relay, 0, calm_days, count=0)
    for seed in SEEDS:
        with monkeypatch.context() as bad_days:
            cuts, carried_bytes = check_cuts(relay, seed, bad_days, CUTS)
        again = carried_bytes - calm_bytes
        print(f"{relay}, seed {seed}: {cuts} cuts, {again} bytes sent again beside {calm_bytes}")
        assert again <= cuts * IN_FLIGHT_BYTES


@pytest.mark.parametrize(("lie", "error", "why"), LIES, ids=[lie.__name__ for lie, *_ in LIES])
@pytest.mark.parametrize("relay", list(Relay))
def test_a_lie_is_refused_whatever_the_way_of_relaying(relay, lie, error, why, monkeypatch):
    check_lie(relay, lie, error, why, monkeypatch)


def test_a_link_that_crawls_is_neither_cut_nor_taken_for_dead(monkeypatch):
    """A payload takes longer than a stall and longer than the lease; what is said lies behind it in the buffers."""
    plan = star(200_000, ["d0"], stall_s=4.0, lease_s=4.0)
    monkeypatch.setattr("node.wire.pacing.LOCAL_CHUNK_BYTES", CHUNK_BYTES)  # as between machines
    running, _ = played(plan, {"cloud": Weather(rate_bytes_s=150e3)}, monkeypatch, rounds=1)
    (made,) = running.kind("aggregated")
    assert made["contributors"] == ["d0"]
    assert not [e for kind in ("lost", "returned", "failed_transfer") for e in running.kind(kind)]
    sent = [e["seconds"] for e in running.kind("transfer") if e["purpose"] == "update"]
    assert min(sent) > plan.limits.lease_s
