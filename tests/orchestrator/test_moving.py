"""Graphs that move: links and routes from round to round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import ScenarioError
from node.plan import Plan, load_plan
from node.roles.survivors import Survivors
from orchestrator.cost.phases import by_round
from orchestrator.cost.pricing import price
from orchestrator.plans.resolve import resolve
from tests.orchestrator.scenarios import scenario, table
from tests.orchestrator.test_cost import ANY_FOLDER, drawn


def ring_of_four(folder: Path, **d2d: Any) -> Plan:
    """One cluster: a ring of links of 8 Mbit/s, so that 1 MB takes 1 s, and uplinks as fast."""
    names = ("device_edge", "edge_cloud", "device_cloud", "device_device")
    topology = {"kind": "tree", "fanout": [1, 4], "d2d": {"graph": "ring", "heads": ["device-00"], **d2d}}
    channel = table(**dict.fromkeys(names, 8e6))
    made = scenario(folder, topology=topology, channel=channel, payload_bytes=1_000_000, rounds=8)
    return resolve(made, "hf-fm+d2d-1")


def test_routes_follow_a_link_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    link = ["device-00", "device-01"]
    plan = ring_of_four(
        tmp_path, moves=[{"round": 2, "link": link, "gone": True}, {"round": 5, "link": link}]
    )
    cluster = plan.clusters[0]
    hops = [cluster.at(r).toward_head["device-01"] for r in range(8)]
    assert hops == ["device-00"] * 2 + ["device-02"] * 3 + ["device-00"] * 3
    assert [plan.link_at("device-01", "device-00", r).gone for r in range(8)] == [
        2 <= r < 5 for r in range(8)
    ]
    survivors = Survivors(plan, cluster)  # another link breaks: the one that is gone does not take its place
    survivors.lose(1, [], [("device-02", "device-03")])
    assert survivors.at(1).members == cluster.members
    assert survivors.at(3).members == ["device-00", "device-03"]
    parts = [part.clusters[0].toward_head["device-01"] for part, _ in by_round(plan)]
    assert parts == hops
    file = tmp_path / "plan.json"
    file.write_text(plan.model_dump_json())
    assert load_plan(file) == plan


def test_a_rate_that_changes_moves_the_route_and_the_cost(tmp_path: Path) -> None:
    slow = ring_of_four(tmp_path, moves=[{"round": 4, "link": ["device-00", "device-01"], "rate_bps": 1e6}])
    assert slow.link_at("device-01", "device-00", 3).rate_bps == 8e6
    assert slow.link_at("device-01", "device-00", 4).rate_bps == 1e6
    assert slow.clusters[0].at(4).toward_head["device-01"] == "device-02"
    assert price(slow).latency_s > price(ring_of_four(tmp_path)).latency_s


def test_a_device_without_links_takes_its_uplink_and_pays_for_it(tmp_path: Path) -> None:
    gone = [{"round": 1, "link": [a, "device-02"], "gone": True} for a in ("device-01", "device-03")]
    plan = ring_of_four(tmp_path, moves=gone)
    assert plan.clusters[0].at(1).members == ["device-00", "device-01", "device-03"]
    parts = {r: part for part, r in by_round(plan)}
    assert price(parts[1]).parts["energy_j"]["uplink"] == 2 * price(parts[0]).parts["energy_j"]["uplink"]


@ANY_FOLDER
@given(st.integers(0, 1000), st.sampled_from(["random", "rotating", "latency"]))
def test_devices_that_walk_keep_a_tree_in_every_round(tmp_path: Path, seed: int, heads: str) -> None:
    d2d = {"heads": heads, "mobility": {"step_m": 40, "every": 2, "range_m": 600}}
    made = drawn(tmp_path, seed, d2d=d2d)
    plan, again = resolve(made, "hf-fm+d2d-2"), resolve(made, "hf-fm+d2d-2")
    assert plan == again
    for cluster in plan.clusters:
        for r in range(plan.rounds):
            now = cluster.at(r)
            tree = nx.Graph(list(now.edges))
            tree.add_node(now.head)
            assert nx.is_tree(tree)
            assert set(tree) <= set(cluster.members)
            for a, b in now.edges:
                assert plan.link_at(a, b, r) is not None
    assert price(plan).latency_s > 0


@pytest.mark.parametrize(
    ("d2d", "why"),
    [
        ({"moves": [{"round": 1, "link": ["device-00", "edge"], "gone": True}]}, "not two devices"),
        ({"mobility": {"step_m": 1}}, "only kind: drawn has"),
        (
            {
                "exchange": "consensus",
                "moves": [{"round": 1, "link": ["device-00", "device-01"], "gone": True}],
            },
            "does not move",
        ),
    ],
)
def test_what_cannot_move(tmp_path: Path, d2d: dict[str, Any], why: str) -> None:
    with pytest.raises(ScenarioError, match=why):
        ring_of_four(tmp_path, **d2d)
