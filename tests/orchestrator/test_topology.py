"""Networks: the published draw number by number, trees of any depth, device-to-device graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.plan import LinkKind, Plan, Role
from orchestrator.plans.resolve import resolve
from orchestrator.plans.topology import build_network
from tests.orchestrator.scenarios import scenario, shipped, table

ANY_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)


def test_the_published_draw() -> None:
    """Some numbers of the network of arXiv 2509.03695, Section IV, recomputed from the released code's draw."""
    plan = resolve(shipped("case-study"), "hf-fm+d2d-2")
    assert plan.node("edge-0").position_m == pytest.approx((1814.270961, 2966.086301), abs=1e-5)
    assert plan.node("edge-9").position_m == pytest.approx((4220.875273, 1227.072914), abs=1e-5)
    assert plan.node("device-00").position_m == pytest.approx((1657.594883, 2978.712244), abs=1e-5)
    assert plan.node("device-16").position_m == pytest.approx((4051.963424, 3701.320489), abs=1e-5)
    rates_kbps = {
        ("device-00", "edge-0"): 27108.561829,
        ("device-15", "edge-3"): 21282.860015,
        ("device-00", "device-01"): 126362.993306,
    }
    for (src, dst), kbps in rates_kbps.items():
        link = plan.link(src, dst)
        assert link is not None
        assert link.rate_bps == pytest.approx(1e3 * kbps, rel=1e-9)
    trees = {
        "edge-0": [(0, 1), (1, 2), (1, 3)],
        "edge-2": [(8, 9), (9, 11), (10, 11)],
        "edge-7": [(28, 31), (29, 30), (30, 31)],
    }
    for cluster in plan.clusters:
        numbers = sorted(tuple(sorted(int(name[-2:]) for name in edge)) for edge in cluster.edges)
        assert numbers == trees.get(cluster.parent, numbers)


def test_all_methods_share_one_set_of_nodes() -> None:
    study = shipped("case-study")
    plans = [resolve(study, method) for method in study.methods]
    assert len({tuple((d.id, d.position_m) for d in plan.devices) for plan in plans}) == 1
    assert [len(plan.nodes) for plan in plans] == [41, *[51] * 6]
    ids = [d.id for d in plans[0].devices]
    assert ids == sorted(ids)
    addresses = {n.id: n.address for plan in plans for n in plan.nodes if n.address}
    assert len(set(addresses.values())) == len(addresses) == 51


def test_the_published_channel_has_no_way_back_and_the_physical_has() -> None:
    study = shipped("case-study")
    kinds = {c: {link.kind for link in resolve(study, "hf-fm-2", c).links} for c in ("published", "physical")}
    assert kinds["physical"] - kinds["published"] == {LinkKind.DOWNLINK}
    assert resolve(study, "star").link("device-00", "cloud") is not None


def test_a_shipped_tree_of_three_tiers() -> None:
    plan = resolve(shipped("three-tiers"), "hf-fm-2")
    assert [n.id for n in plan.nodes if n.role is not Role.DEVICE] == [
        *("cloud", "north", "south", "edge-a", "edge-b", "edge-c")
    ]
    assert plan.children("edge-c") == ["glasses", "phone", "watch"]
    assert {m.name: m.periods for m in plan.modules} == {
        "adapter": {"edge": 1, "region": 2, "cloud": 4},
        "head/gqa": {"edge": 1, "region": 4},
        "head/art": {"edge": 1, "region": 4},
    }
    rural, back = plan.link("edge-c", "south"), plan.link("south", "edge-c")
    assert rural is not None
    assert back is not None
    assert (rural.rate_bps, rural.jitter_s, rural.loss) == (10e6, 0.005, 0.001)
    assert (back.rate_bps, back.jitter_s) == (100e6, 0)


def regular(folder: Path, tiers: list[str], fanout: list[int], d2d: dict[str, Any] | None = None) -> Any:
    topology = {"kind": "tree", "tiers": tiers, "fanout": fanout, "d2d": d2d or {}}
    pairs = zip(["device", *tiers[:0:-1]], tiers[::-1], strict=True)
    rates = {f"{low}_{high}": 1e6 for low, high in [*pairs, ("device", "device"), ("device", tiers[0])]}
    return scenario(folder, topology=topology, channel=table(**rates))


@ANY_FOLDER
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_regular_trees(tmp_path: Path, fanout: list[int]) -> None:
    tiers = [f"t{i}" for i in range(len(fanout))]
    network = build_network(regular(tmp_path, tiers, fanout))
    total = 1
    for tier, count in zip([*tiers[1:], "device"], fanout, strict=True):
        total *= count
        own = [p for p in (*network.aggregators, *network.devices) if p.tier == tier]
        assert len(own) == total
        assert [p.id for p in own] == sorted(p.id for p in own)


@ANY_FOLDER
@given(
    st.sampled_from(["mst", "line", "ring", "star", "complete", "random-geometric"]),
    st.integers(1, 7),
    st.sampled_from(["store-and-forward", "aggregate"]),
)
def test_graph_families_give_trees_that_span(tmp_path: Path, graph: str, devices: int, relay: str) -> None:
    d2d = {"graph": graph, "relay": relay, "radius": 0.4}
    plan = resolve(regular(tmp_path, ["cloud", "edge"], [2, devices], d2d), "hf-fm+d2d-2")
    assert len(plan.clusters) == 2
    for cluster in plan.clusters:
        assert len(cluster.edges) == devices - 1
        assert cluster.subtree(cluster.head) == plan.children(cluster.parent)
        for a, b in cluster.edges:
            assert plan.link(a, b) is not None
            assert plan.link(b, a) is not None


def test_heads_are_drawn_from_the_seed(tmp_path: Path) -> None:
    def heads(seed: int) -> list[str]:
        drawn = {"kind": "drawn", "edge_servers": 5, "devices_per_cluster": 6, "seed": 1}
        return [
            c.head for c in resolve(scenario(tmp_path, seed=seed, topology=drawn), "edge-only+d2d").clusters
        ]

    assert heads(1) == heads(1)
    assert heads(1) != heads(2)


def test_one_period_per_module_and_the_uplink_beside_d2d(tmp_path: Path) -> None:
    drawn = {"kind": "drawn", "edge_servers": 2, "devices_per_cluster": 3}
    rules = [{"modules": "head/*", "methods": "hf-fm+d2d-*", "periods": {"edge": 2}}]
    plan = resolve(scenario(tmp_path, topology=drawn, circulation=rules), "hf-fm+d2d-4")
    head, adapter = plan.module("head/gqa"), plan.module("adapter")
    assert head is not None
    assert adapter is not None
    assert (head.over_d2d, adapter.over_d2d) == (False, True)


def test_the_same_scenario_gives_the_same_plan() -> None:
    first, second = (resolve(shipped("quickstart"), "hf-fm+d2d-2") for _ in range(2))
    assert first.sha256 == second.sha256
    assert isinstance(first, Plan)
