"""The lines for tc, without running any."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.links.addressing import POOL, assignment_of, place_in_block
from deploy.links.tc import clear_lines, leaf, setup_lines, update_lines
from node.errors import LinksError
from node.plan import Link, LinkKind, Move, Plan
from node.wire.overhead import carried, wire_bytes
from node.wire.pacing import Holds, Pacers
from tests.federation import make_plan, module

IPS = {"cloud": "10.0.0.1", "d0": "10.0.0.2", "d1": "10.0.0.3"}


def link(src: str = "d0", dst: str = "cloud", **properties: float) -> Link:
    values = {"rate_bps": 20e6, **properties}
    return Link.model_construct(
        **{**Link(src=src, dst=dst, kind=LinkKind.UPLINK, rate_bps=1).__dict__, **values}
    )


def plan(*links: Link, backend: str = "netem") -> Plan:
    parents = {"cloud": None, "d0": "cloud", "d1": "cloud"}
    tiers = {"cloud": "cloud"}
    return make_plan(parents, tiers, (module(cloud=1),), tuple(links), links_backend=backend)


def test_netem_has_a_class_a_leaf_and_a_filter_per_destination():
    up = link(delay_s=0.004, jitter_s=0.001, loss=0.01)
    side = link(dst="d1", rate_bps=1e6)
    assert setup_lines(plan(up, side, link("d1", "cloud")), "d0", IPS, "netem", "eth7") == [
        "qdisc add dev eth7 root handle f: htb default 0",
        "class add dev eth7 parent f: classid f:10 htb rate 10gbit quantum 15140",
        "qdisc add dev eth7 parent f:10 handle 10: netem limit 180 delay 4000us 1000us loss 1% rate 20000000bit",
        "filter add dev eth7 parent f: protocol ip prio 1 u32 match ip dst 10.0.0.1/32 flowid f:10",
        "class add dev eth7 parent f: classid f:12 htb rate 10gbit quantum 15140",
        "qdisc add dev eth7 parent f:12 handle 12: netem limit 100 delay 0us rate 1000000bit",
        "filter add dev eth7 parent f: protocol ip prio 1 u32 match ip dst 10.0.0.3/32 flowid f:12",
    ]
    assert clear_lines("eth7") == ["qdisc del dev eth7 root"]


def test_tbf_keeps_the_rate_alone_less_what_loss_takes_of_it():
    assert leaf(link(delay_s=0.1, loss=0.2), "tbf") == "tbf rate 16000000bit burst 20000 limit 200000"
    assert leaf(link(rate_bps=64e3), "tbf") == "tbf rate 64000bit burst 13626 limit 151400"


def test_a_node_that_sends_over_no_link_is_left_alone():
    assert setup_lines(plan(link()), "d1", IPS, "netem") == []


@given(st.floats(8, 1e11), st.floats(0, 1), st.floats(0, 0.1))
def test_the_queue_holds_the_delay_line(rate_bps: float, delay_s: float, jitter_s: float):
    """In frames: what arrives within the delay, twice over, and never less than 100."""
    found = re.match(
        r"netem limit (\d+) ", leaf(link(rate_bps=rate_bps, delay_s=delay_s, jitter_s=jitter_s), "netem")
    )
    assert found is not None
    assert int(found[1]) >= max(100, rate_bps / 8 / 1514 * 2 * delay_s)


def test_updates_change_what_differs_and_nothing_else():
    moves = tuple(Move(first_round=r, links=(link(dst="d1", rate_bps=b),)) for r, b in ((2, 5e6), (4, 20e6)))
    moving = plan(link(), link(dst="d1")).replace(moves=moves)
    assert update_lines(moving, "d0", 0, 3, "tbf", "eth0") == [
        "qdisc change dev eth0 parent f:12 handle 12: tbf rate 5000000bit burst 13626 limit 151400"
    ]
    assert len(update_lines(moving, "d0", None, 1, "netem")) == 2
    assert update_lines(moving, "d0", 0, 1, "netem") == update_lines(moving, "d0", 0, 4, "netem") == []
    assert setup_lines(moving, "d0", IPS, "netem", round_index=3)[5].endswith("rate 5000000bit")


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({"rate_bps": 0.0}, "a rate of 0 bit/s"),
        ({"loss": 1.0}, "a loss of 100 %"),
        ({"rate_bps": float("inf")}, "inf"),
    ],
)
def test_links_that_tc_cannot_make_are_refused(properties: dict[str, float], says: str):
    with pytest.raises(LinksError, match=says) as error:
        leaf(link(**properties), "netem")
    assert "\n" not in str(error.value)
    assert "d0 -> cloud" in str(error.value)


def test_a_node_without_an_address_is_named():
    with pytest.raises(LinksError, match="'cloud' has no address"):
        setup_lines(plan(link()), "d0", {}, "netem")


def test_addresses_follow_from_the_plan():
    placed = place_in_block(plan(link()), taken=[next(POOL.subnets(new_prefix=16))])
    found = assignment_of(placed)
    assert (found.network.prefixlen, found.network.subnet_of(POOL)) == (29, True)
    assert len({found.host, *found.nodes.values()}) == 4
    assert placed.root.address is not None
    assert placed.root.address.startswith(found.nodes["cloud"] + ":")
    with pytest.raises(LinksError, match="no address of a namespace"):
        assignment_of(plan(link()))
    with pytest.raises(LinksError, match="hffm links clear"):
        place_in_block(plan(link()), taken=[POOL])


def test_what_a_transfer_should_measure():
    up, down = link(delay_s=0.1), link("cloud", "d0", delay_s=0.05)
    assert wire_bytes(6e6) / 6e6 == pytest.approx(1.046, abs=0.001)
    paced, netem, tbf = (carried(up, backend, down).seconds(6e6) for backend in ("paced", "netem", "tbf"))
    assert paced == pytest.approx(2.5)
    assert netem == pytest.approx(0.15 + 2.4 * 1.0462, rel=1e-3)
    assert tbf == pytest.approx(0.1 + 2.4 * 1.0462 - 0.01, rel=1e-3)


def test_who_holds_back_what():
    holds = {
        backend: Pacers.of_node(plan(link(), backend=backend), "d0").to("cloud").holds
        for backend in ("none", "paced", "tbf", "netem")
    }
    assert holds == {
        "none": Holds.NOTHING,
        "paced": Holds.RATE_AND_DELAY,
        "tbf": Holds.DELAY,
        "netem": Holds.NOTHING,
    }
