"""Modelled costs: Table I of the case study, and relations that hold on any network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.plan import Cluster, Plan, Relay
from orchestrator.cost.pricing import AS_BUILT, PUBLISHED, price, printed_energy, printed_latency
from orchestrator.cost.relaying import Hop, away_s, crossings, towards_s
from orchestrator.plans.resolve import resolve
from orchestrator.report.cost_table import cost_rows, text_table, ways_table
from tests.orchestrator.scenarios import scenario, shipped, table

ANY_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)

# arXiv 2509.03695, Table I: seconds and "kJ" (J, see the scenario).
TABLE_1 = {
    "star": ("12.10", "387.20"),
    "edge-only": ("3.59", "59.25"),
    "edge-only+d2d": ("2.00", "14.75"),
    "hf-fm-2": ("9.58", "107.65"),
    "hf-fm-8": ("5.04", "71.35"),
    "hf-fm+d2d-2": ("8.86", "67.57"),
    "hf-fm+d2d-8": ("3.66", "27.92"),
}


@pytest.mark.parametrize("method", TABLE_1)
def test_the_case_study_gives_table_1(method: str) -> None:
    cost = price(resolve(shipped("case-study"), method, "published"))
    assert (printed_latency(cost.latency_s), printed_energy(cost.energy_j)) == TABLE_1[method]
    assert sum(cost.parts["latency_s"].values()) == pytest.approx(cost.latency_s)
    assert sum(cost.parts["energy_j"].values()) == pytest.approx(cost.energy_j)


@pytest.mark.parametrize(
    ("method", "latency_s", "energy_j"),
    [("hf-fm+d2d-2", 8.05, 64.40), ("hf-fm+d2d-8", 2.72, 24.74), ("edge-only+d2d", 1.05, 11.57)],
)
def test_relays_that_cut_through_beat_table_1_on_the_published_heads(
    method: str, latency_s: float, energy_j: float
) -> None:
    plan = resolve(shipped("case-study"), method)
    whole, cut, added = (price(relayed(plan, relay)) for relay in Relay)
    assert round(cut.latency_s, 2) == round(added.latency_s, 2) == latency_s
    assert cut.energy_j == whole.energy_j  # as many payloads on every link
    assert round(added.energy_j, 2) == energy_j


def relayed(plan: Plan, relay: Relay) -> Plan:
    return plan.replace(clusters=tuple(c.model_copy(update={"relay": relay}) for c in plan.clusters))


def test_star_and_e_of_1() -> None:
    """With E = 1 every round adds the uplink to the connection that star has."""
    study = shipped("case-study")
    star, every = (price(resolve(study, method)) for method in ("star", "hf-fm-1"))
    assert every.parts["latency_s"]["backhaul"] == pytest.approx(star.latency_s)
    assert every.energy_j - every.parts["energy_j"]["uplink"] == pytest.approx(
        star.energy_j / 4
    )  # 10, not 40


def test_table_1_beside_the_physical_channel() -> None:
    study = shipped("case-study")
    rows = cost_rows(study)
    assert [(r["channel"], r["method"]) for r in rows[:14]] == [
        (channel, method) for channel in ("published", "physical") for method in study.methods
    ]
    headers, lines = text_table(rows)
    assert headers[1:3] == ["published s", "published J"]
    assert {line[0]: (line[1], line[2]) for line in lines} == TABLE_1
    assert {line[0]: (line[-2], line[-1]) for line in lines} == TABLE_1


def test_ways_of_going_device_to_device_beside_table_1() -> None:
    rows = [r for r in cost_rows(shipped("case-study")) if r["channel"] == "published" and "way" in r]
    assert len(rows) == 3 * 5
    figures = {r["method"]: r for r in rows}
    assert len(figures) == len(rows)
    for method, latency_s, energy_j in (
        ("hf-fm+d2d-2", 8.05, 64.40),
        ("hf-fm+d2d-8", 2.72, 24.74),
        ("edge-only+d2d", 1.05, 11.57),
    ):
        row = figures[f"{method}@aggregate"]
        assert (round(row["latency_s"], 2), round(row["energy_j"], 2)) == (latency_s, energy_j)
        whole = figures[f"{method}@store-and-forward"]
        assert (printed_latency(whole["latency_s"]), printed_energy(whole["energy_j"])) == TABLE_1[method]
        assert figures[f"{method}@store-and-forward,links-shared"]["latency_s"] > whole["latency_s"]
        consensus = figures[f"{method}@consensus"]
        assert consensus["iterations"] > 1
        assert 0 < consensus["spectral_gap"] < 1
    headers, lines = ways_table(rows)
    assert [line[0] for line in lines[:2]] == ["edge-only+d2d", "  store-and-forward"]
    assert len(headers) == 3


@pytest.mark.parametrize("method", ["star", "hf-fm-2", "hf-fm+d2d-2"])
def test_headers_are_priced_where_a_kernel_counts_them(method: str) -> None:
    """4.6 % of what a rate carries; netem delays the receipt too, and a token bucket is full at first."""
    plan = resolve(shipped("case-study"), method, "physical")
    paced, none, tbf, netem = (
        price(plan.replace(links_backend=backend)) for backend in ("paced", "none", "tbf", "netem")
    )
    assert paced == none
    assert 1.02 < tbf.latency_s / paced.latency_s < 1.0462
    assert 1.03 < netem.latency_s / paced.latency_s < 1.08
    still = plan.replace(links=tuple(k.model_copy(update={"delay_s": 0.0}) for k in plan.links))
    bare, kernel = (price(still.replace(links_backend=backend)) for backend in ("paced", "netem"))
    assert kernel.latency_s / bare.latency_s == pytest.approx(1.0462, abs=2e-3)
    assert kernel.energy_j / bare.energy_j == pytest.approx(1.0462, abs=2e-3)


def test_loss_takes_its_share_of_the_rate(tmp_path: Path) -> None:
    topology, rates = {"kind": "tree", "fanout": [1, 2]}, table(device_edge=8e6, edge_cloud=8e6)
    lossy = {**rates, "links": [{**rule, "loss": 0.2} for rule in rates["links"]]}
    costs = [
        price(resolve(scenario(tmp_path, topology=topology, channel=channel, payload_bytes=10**6), "hf-fm-1"))
        for channel in (rates, lossy)
    ]
    assert costs[1].latency_s == pytest.approx(1.25 * costs[0].latency_s)
    assert costs[1].energy_j == pytest.approx(1.25 * costs[0].energy_j)


def test_what_the_receiver_draws_counts_where_it_is_given(tmp_path: Path) -> None:
    topology, rates = {"kind": "tree", "fanout": [1, 2]}, table(device_edge=8e6, edge_cloud=8e6)
    both = {**rates, "links": [{**rule, "receive_w": 0.5} for rule in rates["links"]]}
    costs = [
        price(resolve(scenario(tmp_path, topology=topology, channel=channel, payload_bytes=10**6), "hf-fm-1"))
        for channel in (rates, both)
    ]
    assert costs[1].energy_j == pytest.approx(1.5 * costs[0].energy_j)
    assert costs[1].latency_s == costs[0].latency_s


def test_a_tree_without_places_is_priced_under_its_table_alone() -> None:
    assert {row["channel"] for row in cost_rows(shipped("three-tiers"))} == {"table"}


def drawn(folder: Path, seed: int, **keys: Any) -> Any:
    topology = {"kind": "drawn", "edge_servers": 3, "devices_per_cluster": 4, **keys}
    return scenario(folder, seed=seed, topology=topology)


@ANY_FOLDER
@given(st.integers(0, 10_000))
def test_rarer_averaging_above_costs_less(tmp_path: Path, seed: int) -> None:
    for channel in ("published", "physical"):
        for family in ("hf-fm-{}", "hf-fm+d2d-{}"):
            costs = [price(resolve(drawn(tmp_path, seed), family.format(e), channel)) for e in (1, 2, 8)]
            assert [c.energy_j for c in costs] == sorted((c.energy_j for c in costs), reverse=True)
            assert costs[0].latency_s > costs[1].latency_s


@ANY_FOLDER
@given(st.integers(0, 10_000), st.floats(1e3, 1e9))
def test_cost_grows_with_the_payload(tmp_path: Path, seed: int, size: float) -> None:
    plan = resolve(drawn(tmp_path, seed), "hf-fm+d2d-2")
    small, large = price(plan, size), price(plan, 2 * size)
    assert small.latency_s < large.latency_s <= 2 * small.latency_s
    assert small.energy_j < large.energy_j <= 2 * small.energy_j


@ANY_FOLDER
@given(st.integers(0, 10_000))
def test_each_way_of_relaying_costs_no_more_than_the_one_before(tmp_path: Path, seed: int) -> None:
    for channel in ("published", "physical"):
        plan = resolve(drawn(tmp_path, seed), "hf-fm+d2d-2", channel)
        whole, cut, added = (price(relayed(plan, relay)) for relay in Relay)
        assert added.energy_j <= cut.energy_j == whole.energy_j
        assert added.latency_s <= cut.latency_s + 1e-9 <= whole.latency_s + 2e-9


def equal_tree(folder: Path, method: str) -> Plan:
    """2 regions of 2 edge servers of 2 devices; links of 8 Mbit/s and 1 W, so that 1 MB takes 1 s and 1 J."""
    names = ("device_edge", "edge_region", "region_cloud", "device_cloud", "device_device")
    topology = {"kind": "tree", "tiers": ["cloud", "region", "edge"], "fanout": [2, 2, 2]}
    made = scenario(
        folder, topology=topology, channel=table(**dict.fromkeys(names, 8e6)), payload_bytes=1_000_000
    )
    return resolve(made, method)


@pytest.mark.parametrize(
    ("method", "latency_s", "energy_j"),
    [
        # Up and back: each link twice. 8 devices, 4 edge servers, 2 regions.
        ("star", 2.0, 2 * 8.0),
        ("edge-only", 2.0, 2 * 8.0),
        ("hf-fm-1", 6.0, 2 * (8.0 + 4 + 2)),
        ("hf-fm-2", 2 * (1 + 1 / 2 + 1 / 4), 2 * (8 + 4 / 2 + 2 / 4)),
        # Every round: one hop to the head. Every second: the way back inside, or the head's uplink and answers.
        (
            "hf-fm+d2d-2",
            1 + 1 / 2 + (1 + 1) / 2 + 2 / 2 + 2 / 4,
            4 * (1 + 1 / 2 + 1 / 2) + (8 + 8) / 2 + 2 * 2 / 4,
        ),
    ],
)
def test_deeper_trees_by_hand(tmp_path: Path, method: str, latency_s: float, energy_j: float) -> None:
    cost = price(equal_tree(tmp_path, method))
    assert cost.latency_s == pytest.approx(latency_s)
    assert cost.energy_j == pytest.approx(energy_j)


def test_rules_can_be_chosen(tmp_path: Path) -> None:
    plan = equal_tree(tmp_path, "hf-fm-1")
    upward = price(plan, rules=replace(AS_BUILT, answers=False))
    assert (upward.latency_s, upward.energy_j) == (pytest.approx(3.0), pytest.approx(14.0))
    seldom = price(equal_tree(tmp_path, "edge-only"), rules=PUBLISHED)
    assert seldom.latency_s == pytest.approx(1 + 2 / 200)
    assert seldom.energy_j == pytest.approx(8.0)


def line(relay: Relay) -> Cluster:
    return Cluster(parent="e", head="a", edges=(("b", "a"), ("c", "b"), ("d", "c")), relay=relay)


def test_three_relays_in_a_row() -> None:
    """One payload takes a second on each link, and its first chunk a hundredth."""
    hops = {way: Hop(1.0, 0.01) for e in line(Relay.AGGREGATE).edges for way in (e, e[::-1])}
    whole, cut, added = Relay
    tree = line(whole)
    assert towards_s(tree, hops, whole, links_are_shared=False) == 3
    # A pipeline: one payload arrives each second.
    assert towards_s(tree, hops, whole, links_are_shared=True) == 3
    assert towards_s(tree, hops, cut, links_are_shared=False) == pytest.approx(1.02)
    assert towards_s(tree, hops, cut, links_are_shared=True) == pytest.approx(3)
    assert towards_s(tree, hops, added, links_are_shared=True) == pytest.approx(1.02)
    assert crossings(tree, whole) == crossings(tree, cut) == {("b", "a"): 3, ("c", "b"): 2, ("d", "c"): 1}
    assert set(crossings(tree, added).values()) == {1}
    assert away_s(tree, hops, whole) == 3
    assert away_s(tree, hops, cut) == away_s(tree, hops, added) == pytest.approx(1.02)


def test_a_slow_last_link_sets_the_pace() -> None:
    whole, cut, added = Relay
    tree = line(whole)
    slow = {(a, b): Hop(5.0, 0.05) if b == "a" else Hop(1.0, 0.01) for a, b in tree.edges}
    assert towards_s(tree, slow, whole, links_are_shared=False) == 7
    assert towards_s(tree, slow, whole, links_are_shared=True) == 15  # all three wait for the last link
    assert towards_s(tree, slow, cut, links_are_shared=False) == pytest.approx(5.02)
    assert towards_s(tree, slow, cut, links_are_shared=True) == pytest.approx(15)
    assert towards_s(tree, slow, added, links_are_shared=True) == pytest.approx(5.02)


@pytest.mark.parametrize("relay", list(Relay))
def test_a_lonely_head_costs_nothing_inside(relay: Relay) -> None:
    alone = Cluster(parent="e", head="a", edges=())
    assert towards_s(alone, {}, relay, links_are_shared=True) == 0
    assert towards_s(alone, {}, relay, links_are_shared=False) == 0
    assert away_s(alone, {}, relay) == 0


def test_modules_may_be_relayed_differently(tmp_path: Path) -> None:
    """Half of the values added up in transit, half stored and forwarded: half of the difference."""
    plan = resolve(drawn(tmp_path, 1), "hf-fm+d2d-2", "published")
    both = (Relay.STORE_AND_FORWARD, Relay.AGGREGATE)
    whole, added = (price(relayed(plan, relay)).parts["energy_j"]["d2d"] for relay in both)
    share = plan.modules[0].size / sum(m.size for m in plan.modules)
    first = plan.modules[0].model_copy(update={"relay": Relay.AGGREGATE})
    mixed = price(plan.replace(modules=(first, *plan.modules[1:]))).parts["energy_j"]["d2d"]
    assert mixed == pytest.approx(share * added + (1 - share) * whole)
