"""Shadowing, fading and shared spectrum: the statistics of the draws, and what they do to a plan."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise, permutations
from math import fsum, log, log1p
from pathlib import Path
from statistics import fmean, median, pstdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import ScenarioError
from node.plan import LinkKind, Plan
from orchestrator.cost.phases import by_round
from orchestrator.cost.pricing import price
from orchestrator.cost.relaying import away_s, hop, towards_s
from orchestrator.plans.propagation import Fading, fading_gain, proportional_shares, shadowing_gain
from orchestrator.plans.resolve import resolve
from tests.orchestrator.scenarios import scenario, shipped, table

TOPOLOGY = {"kind": "drawn", "edge_servers": 2, "devices_per_cluster": 4, "area_m": 2000}
PAIRS = [[f"device-{i:02}", f"device-{j:02}"] for k in (0, 4) for i, j in combinations(range(k, k + 4), 2)]
NAMES = [f"n{i}" for i in range(4000)]


def plan(tmp_path: Path, method: str = "hf-fm+d2d-2", **channel: Any) -> Plan:
    spec = {"model": "physical", **channel}
    return resolve(scenario(tmp_path, topology=TOPOLOGY, channel=spec, methods=[method]), method)


def rates(plan: Plan) -> dict[tuple[str, str], float]:
    return {(link.src, link.dst): link.rate_bps for link in plan.links}


@pytest.mark.parametrize(
    ("kind", "k_db", "middle", "spread"),
    # Exponential: median ln 2, deviation 1. Rician of K: variance (1 + 2K) / (1 + K)^2.
    [("rayleigh", 9.0, 0.693, 1.0), ("rician", 10.0, 0.95, 0.417), ("none", 9.0, 1.0, 0.0)],
)
def test_fading_has_mean_power_one(kind: Fading, k_db: float, middle: float, spread: float):
    gains = [fading_gain(1, "edge", name, kind, k_db) for name in NAMES]
    assert fmean(gains) == pytest.approx(1, abs=0.05)
    assert median(gains) == pytest.approx(middle, abs=0.05)
    assert pstdev(gains) == pytest.approx(spread, abs=0.05)


def test_shadowing_is_normal_in_db_and_the_same_both_ways():
    from math import log10

    gains = [10 * log10(shadowing_gain(1, "edge", name, 6.0)) for name in NAMES]
    assert fmean(gains) == pytest.approx(0, abs=0.3)
    assert pstdev(gains) == pytest.approx(6, abs=0.3)
    assert shadowing_gain(1, "a", "b", 6.0) == shadowing_gain(1, "b", "a", 6.0)
    assert shadowing_gain(1, "a", "b", 6.0) != shadowing_gain(2, "a", "b", 6.0)


def test_the_default_is_the_published_draw(tmp_path: Path):
    assert rates(plan(tmp_path)) == rates(plan(tmp_path, fading="drawn", shadowing_db=0, spectrum="own"))
    assert rates(plan(tmp_path)) != rates(plan(tmp_path, fading="rayleigh"))
    assert rates(plan(tmp_path, fading="rician")) == rates(plan(tmp_path, fading="rician"))


def test_every_round_has_a_draw_of_its_own(tmp_path: Path):
    """Block fading over ten rounds, three rounds to a block; shadowing holds for five."""
    spec = {"fading": "rayleigh", "fading_rounds": 3, "shadowing_db": 4, "shadowing_rounds": 5}
    moving = plan(tmp_path, **spec)
    assert [move.first_round for move in moving.moves] == [3, 5, 6, 9]
    still = plan(tmp_path, fading="rayleigh", shadowing_db=4)
    assert rates(moving) == rates(still)
    assert moving == plan(tmp_path, **spec)
    for link in moving.links:
        seen = [moving.link_at(link.src, link.dst, r) for r in range(10)]
        changes = [r for r in range(1, 10) if seen[r] != seen[r - 1]]
        assert changes == ([] if link.kind is LinkKind.BACKHAUL else [3, 5, 6, 9])


def test_blocks_of_one_link_are_independent():
    gains = [fading_gain(1, "edge", "device", "rayleigh", 0, block) for block in range(4000)]
    assert fmean(gains) == pytest.approx(1, abs=0.05)
    assert median(gains) == pytest.approx(0.693, abs=0.05)
    paired = fmean((a - 1) * (b - 1) for a, b in pairwise(gains))
    assert abs(paired) < 0.05


@pytest.mark.parametrize("method", ["edge-only", "hf-fm-2", "hf-fm+d2d-2"])
@pytest.mark.parametrize("seed", range(4))
def test_each_round_is_priced_at_its_own_rates(tmp_path: Path, method: str, seed: int):
    """Worked out for modules that circulate together: the cloud waits for the slowest of its children over all the
    rounds since it averaged last, an edge server in every round."""
    spec = {"model": "physical", "fading": "rayleigh", "fading_rounds": 1}
    topology = {**TOPOLOGY, "d2d": {"graph": "star", "relay": "aggregate"}}
    keys = {"topology": topology, "channel": spec, "rounds": 4, "payload_bytes": 10**6, "seed": seed}
    found = resolve(scenario(tmp_path, methods=[method], **keys), method)
    edges, syncs = found.children("cloud"), () if method == "edge-only" else (1, 3)
    below = {e: [below_s(found, e, r, r in syncs) for r in range(4)] for e in edges}
    if not syncs:
        assert price(found).latency_s == pytest.approx(max(map(sum, below.values())) / 4)
        return
    ways = {e: [seconds(found, e, "cloud", r) + seconds(found, "cloud", e, r) for r in syncs] for e in edges}
    waits = [max(sum(below[e][2 * i : 2 * i + 2]) + ways[e][i] for e in edges) for i in range(2)]
    assert price(found).latency_s == pytest.approx(sum(waits) / 4)


def seconds(plan: Plan, src: str, dst: str, round_index: int) -> float:
    link = plan.link_at(src, dst, round_index)
    assert link is not None
    return link.seconds(1e6)


def below_s(plan: Plan, edge: str, r: int, sync: bool) -> float:
    """One round below an edge server; `sync`: its result goes up, and comes back to all members."""
    cluster = next((c.at(r) for c in plan.clusters if c.parent == edge), None)
    members = plan.children(edge)
    if cluster is None:
        return max(seconds(plan, m, edge, r) + seconds(plan, edge, m, r) for m in members)
    part = next(part for part, k in by_round(plan) if k == r)
    hops = {(k.src, k.dst): hop(k, 1e6, chunks_count=True) for k in part.links if k.kind is LinkKind.D2D}
    up = towards_s(cluster, hops, cluster.relay, links_are_shared=True)
    if not sync:
        return up + away_s(cluster, hops, cluster.relay)
    return up + seconds(plan, cluster.head, edge, r) + max(seconds(plan, edge, m, r) for m in members)


def test_the_shipped_scenario_of_radio_links():
    """What is drawn, shared and written beside it, in one plan."""
    found = resolve(shipped("radio"), "hf-fm-2")
    assert [move.first_round for move in found.moves] == list(range(1, 8))
    seen = [found.link_at("device-03", "edge-0", r) for r in range(8)]
    assert len({link.rate_bps for link in seen if link}) == 5
    assert all(link and (link.loss, link.jitter_s) == (0.01, 0.002) for link in seen)
    assert price(found).latency_s > 0


def test_rules_may_begin_in_a_later_round(tmp_path: Path):
    """A trace: rates of one link from round to round."""
    rules = table(device_edge=8e6, edge_cloud=8e6)["links"]
    trace = [
        {"from": "device-00", "to": "edge", "rate_bps": b, "from_round": r} for r, b in ((2, 1e6), (4, 4e6))
    ]
    topology = {"kind": "tree", "fanout": [1, 2]}
    made = scenario(tmp_path, topology=topology, channel={"model": "table", "links": rules + trace}, rounds=6)
    found = resolve(made, "hf-fm-1")
    seen = [found.link_at("device-00", "edge-0", r).rate_bps for r in range(6)]
    assert seen == [8e6, 8e6, 1e6, 1e6, 4e6, 4e6]
    assert {k.src for move in found.moves for k in move.links} == {"device-00"}


@pytest.mark.parametrize("method", ["edge-only", "hf-fm-2"])
def test_devices_divide_the_bandwidth_of_their_server(tmp_path: Path, method: str):
    """A device keeps its power, so that it gets more than its quarter of the rate; a server divides its own."""
    own, equal = (rates(plan(tmp_path, method, spectrum=s)) for s in ("own", "equal"))
    for link in plan(tmp_path, method).links:
        share = equal[link.src, link.dst] / own[link.src, link.dst]
        if link.kind is LinkKind.UPLINK:
            assert 0.25 < share < 1
        else:
            assert share == pytest.approx(0.25 if link.kind is LinkKind.DOWNLINK else 1)


def test_a_head_that_sends_alone_has_the_bandwidth_to_itself(tmp_path: Path):
    """Until links vanish: then those whom none is left to take their uplinks at the same time."""
    moves = [{"round": 2, "link": [a, b], "gone": True} for a, b in PAIRS if "device-03" in (a, b)]
    topology = {**TOPOLOGY, "d2d": {"graph": PAIRS, "heads": [0, 4], "moves": moves}}
    spec = {"model": "physical", "spectrum": "equal"}
    found, alone = (
        resolve(scenario(tmp_path, topology=topology, channel=c, methods=["hf-fm+d2d-2"]), "hf-fm+d2d-2")
        for c in (spec, {"model": "physical"})
    )
    for device, part in (("device-00", 1), ("device-03", 1), ("device-04", 0)):
        before, after = (found.link_at(device, found.by_id[device].parent or "", r) for r in (1, 2))
        whole = alone.link(device, found.by_id[device].parent or "")
        assert before == whole
        assert (after != whole) == bool(part)
        assert after.rate_bps > 0.5 * whole.rate_bps


@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=6), st.floats(0.1, 1e6))
def test_proportionally_fair_parts_cannot_be_bettered(snr_hz: list[float], bandwidth_hz: float):
    """Moving a little of one device's part to another lowers the sum of the logarithms of the rates."""

    def utility(parts: Sequence[float]) -> float:
        each = zip(parts, snr_hz, strict=True)
        return fsum(log(b * bandwidth_hz * log1p(c / (b * bandwidth_hz))) for b, c in each)

    parts = proportional_shares(tuple(snr_hz), bandwidth_hz)
    assert fsum(parts) == pytest.approx(1)
    for i, j in permutations(range(len(parts)), 2):
        moved = list(parts)
        moved[i], moved[j] = parts[i] + 0.01 * parts[j], 0.99 * parts[j]
        assert utility(moved) <= utility(parts) + 1e-12
    assert proportional_shares((5.0,) * 4, bandwidth_hz) == pytest.approx([0.25] * 4)


def test_proportional_fairness_in_a_plan(tmp_path: Path):
    """More for the sum of the logarithms of the uplinks' rates than equal parts; the servers' parts are even."""
    equal, fair = (plan(tmp_path, "hf-fm-2", spectrum=s) for s in ("equal", "proportional-fair"))
    logs = [
        fsum(
            log(link.rate_bps)
            for link in found.links
            if link.kind is LinkKind.UPLINK and link.dst == "edge-0"
        )
        for found in (equal, fair)
    ]
    assert logs[1] > logs[0]
    for link in equal.links:
        if link.kind is not LinkKind.UPLINK:
            assert fair.link(link.src, link.dst) == link


@pytest.mark.parametrize(
    ("channel", "says"),
    [
        ({"fading": "weibull"}, "channel.fading: must be 'drawn', 'none', 'rayleigh' or 'rician'"),
        ({"shadowing_db": -1}, "channel.shadowing_db: must be"),
        (
            {**table(device_edge=1e6, edge_cloud=1e6), "spectrum": "equal"},
            "channel.spectrum: a table has no radio",
        ),
        ({"fading_rounds": 1}, "channel.fading_rounds: fading: drawn is the same in all rounds"),
        (
            {**table(device_edge=1e6, edge_cloud=1e6), "shadowing_rounds": 1},
            "channel.shadowing_rounds: a table has no radio",
        ),
        ({"model": "published", "fading": "none"}, "channel.fading: the published constants are fixed"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, channel: dict[str, Any], says: str):
    with pytest.raises(ScenarioError, match=says) as error:
        plan(tmp_path, **channel)
    assert "\n" not in str(error.value)
