"""Whatever the tree and the path, the modules are those that federated averaging defines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
import pytest

from node.aggregation import Update, combine
from node.model.schema import initial_module
from node.payload import Values
from node.plan import Cluster, Link, LinkKind, Plan, Relay
from tests.federation import federation, make_plan, module, samples_of, step

STAR = {"cloud": None, **{f"d{i}": "cloud" for i in range(5)}}
TREE = {
    "cloud": None,
    "e0": "cloud",
    "e1": "cloud",
    **{f"d{i}": "e0" for i in range(3)},
    **{f"d{i}": "e1" for i in range(3, 5)},
}
DEEP = {
    "cloud": None,
    "r0": "cloud",
    "r1": "cloud",
    "e0": "r0",
    "e1": "r0",
    "e2": "r1",
    **{"d0": "e0", "d1": "e0", "d2": "e1", "d3": "e2", "d4": "e2"},
}
TREE_TIERS = {"cloud": "cloud", "e0": "edge", "e1": "edge"}
DEEP_TIERS = {"cloud": "cloud", "r0": "region", "r1": "region", "e0": "edge", "e1": "edge", "e2": "edge"}
LINE = Cluster(parent="e0", head="d1", edges=(("d0", "d1"), ("d1", "d2")))
PAIR = Cluster(parent="e1", head="d4", edges=(("d3", "d4"),))
CHAIN = Cluster(parent="e0", head="d0", edges=(("d0", "d1"), ("d1", "d2")))


def flat_average(plan: Plan, rounds: int) -> dict[str, Values]:
    """Federated averaging over all devices in each round, written down directly."""
    state = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    for r in range(rounds):
        state = average(state, [d.id for d in plan.devices], r)
    return state


def average(state: Mapping[str, Values], devices: list[str], r: int) -> dict[str, Values]:
    new = {}
    for name, values in state.items():
        weights = {d: samples_of(d, name) for d in devices}
        parts = [weights[d] * step(d, name, r, values).astype(np.float64) for d in devices if weights[d]]
        new[name] = (sum(parts) / sum(weights.values())).astype(np.float32) if parts else values
    return new


def modules(**periods: int):
    return (module("adapter", 1000, **periods), module("head/t", 300, task="t", **periods))


async def final(plan: Plan, rounds: int, monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], Values]:
    async with federation(plan, monkeypatch) as running:
        await running.rounds(rounds)
        return await running.modules()


@pytest.mark.parametrize(
    ("parents", "tiers", "periods", "clusters"),
    [
        (STAR, {"cloud": "cloud"}, {"cloud": 1}, ()),
        (TREE, TREE_TIERS, {"edge": 1, "cloud": 1}, ()),
        (DEEP, DEEP_TIERS, {"edge": 1, "region": 1, "cloud": 1}, ()),
        (TREE, TREE_TIERS, {"cluster": 1, "edge": 1, "cloud": 1}, (LINE, PAIR)),
        (TREE, TREE_TIERS, {"cluster": 1, "edge": 1, "cloud": 1}, (CHAIN, PAIR)),
    ],
    ids=["star", "tree", "deep", "d2d", "d2d-chain"],
)
@pytest.mark.parametrize("relay", list(Relay))
def test_period_one_is_flat_averaging(parents, tiers, periods, clusters, relay, monkeypatch):
    clusters = tuple(c.model_copy(update={"relay": relay}) for c in clusters)
    plan = make_plan(parents, tiers, modules(**periods), clusters=clusters)
    found = asyncio.run(final(plan, 3, monkeypatch))
    for name, values in flat_average(plan, 3).items():
        np.testing.assert_allclose(found["cloud", name], values, rtol=0, atol=2e-7)
    assert {holder for holder, _ in found} == {"cloud"}


@pytest.mark.parametrize("d2d", [False, True], ids=["uplink", "d2d"])
def test_cluster_rounds_between_cloud_rounds(d2d, monkeypatch):
    """E = 2: the clusters average alone in even rounds, the cloud averages the clusters in odd ones."""
    periods = {"cluster": 1, "edge": 2, "cloud": 2} if d2d else {"edge": 1, "cloud": 2}
    plan = make_plan(TREE, TREE_TIERS, modules(**periods), clusters=(LINE, PAIR) if d2d else ())
    found = asyncio.run(final(plan, 4, monkeypatch))
    state = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    clusters = {"e0": ["d0", "d1", "d2"], "e1": ["d3", "d4"]}
    for r in (0, 2):
        edges = {e: average(average(state, ds, r), ds, r + 1) for e, ds in clusters.items()}
        for name in state:
            weights = {e: sum(samples_of(d, name) for d in ds) for e, ds in clusters.items()}
            total = sum(edges[e][name].astype(np.float64) * w for e, w in weights.items())
            state[name] = (total / sum(weights.values())).astype(np.float32)
    for name, values in state.items():
        np.testing.assert_allclose(found["cloud", name], values, rtol=0, atol=3e-7)


def test_unfinished_period_leaves_the_newest_versions_with_the_clusters(monkeypatch):
    plan = make_plan(TREE, TREE_TIERS, modules(edge=1, cloud=8))
    found = asyncio.run(final(plan, 2, monkeypatch))
    assert {holder for holder, _ in found} == {"cloud", "e0", "e1"}
    start = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    np.testing.assert_array_equal(found["cloud", "adapter"], start["adapter"])
    expected = average(average(start, ["d3", "d4"], 0), ["d3", "d4"], 1)
    np.testing.assert_allclose(found["e1", "adapter"], expected["adapter"], rtol=0, atol=2e-7)


def test_edge_only_over_d2d_leaves_them_with_the_heads(monkeypatch):
    plan = make_plan(TREE, TREE_TIERS, modules(cluster=1), clusters=(LINE, PAIR))
    found = asyncio.run(final(plan, 2, monkeypatch))
    assert {holder for holder, _ in found} == {"cloud", "d1", "d4"}


def test_modules_of_one_run_may_circulate_differently(monkeypatch):
    """The adapter over D2D and to the cloud, one head to the edge only, one not at all."""
    mixed = (
        module("adapter", 800, cluster=1, edge=2, cloud=2),
        module("own", 100),
        module("regional", 200, edge=1),
    )
    plan = make_plan(TREE, TREE_TIERS, mixed, clusters=(LINE, PAIR))
    found = asyncio.run(final(plan, 2, monkeypatch))
    holders = {
        name: {h for h, n in found if n == name and h != "cloud"} for name in ("adapter", "own", "regional")
    }
    assert holders == {"adapter": set(), "own": {f"d{i}" for i in range(5)}, "regional": {"e0", "e1"}}
    start = initial_module(mixed[1], plan.seed)
    np.testing.assert_array_equal(found["d2", "own"], step("d2", "own", 1, step("d2", "own", 0, start)))


def test_same_seed_same_modules_to_the_last_bit(monkeypatch):
    plans = [
        make_plan(TREE, TREE_TIERS, modules(cluster=1, edge=2, cloud=2), clusters=(LINE, PAIR)) for _ in "ab"
    ]
    first, second = (asyncio.run(final(plan, 3, monkeypatch)) for plan in plans)
    assert first.keys() == second.keys()
    assert all((first[key] == second[key]).all() for key in first)


def test_transfers_take_the_time_of_their_links(monkeypatch):
    """Measured over paced links beside the model, padding counted; answers too."""
    links = tuple(
        Link(src=src, dst=dst, kind=kind, rate_bps=4e6, delay_s=0.05, power_w=0.8)
        for i in range(5)
        for src, dst, kind in ((f"d{i}", "cloud", LinkKind.UPLINK), ("cloud", f"d{i}", LinkKind.DOWNLINK))
    )
    plan = make_plan(STAR, {"cloud": "cloud"}, modules(cloud=1), links, payload_bytes=200_000)

    async def run() -> list[dict]:
        async with federation(plan, monkeypatch) as running:
            await running.rounds(1)
            await running.until("ready")
            return running.kind("transfer")

    transfers = asyncio.run(run())
    assert sorted(e["purpose"] for e in transfers) == ["aggregate"] * 5 + ["update"] * 5
    for event in transfers:
        assert event["bytes"] == 200_000
        assert event["modelled_s"] == pytest.approx(0.05 + 8 * 200_000 / 4e6)
        # Never faster than the link; how much slower is for `hffm links check` to say, on an idle machine.
        assert 0.98 * event["modelled_s"] < event["seconds"] < 4 * event["modelled_s"]
        assert event["energy_j"] == pytest.approx(0.8 * event["seconds"])


def test_combining_in_any_order_and_grouping_is_the_same():
    rng = np.random.default_rng(3)
    updates = [Update(rng.normal(0, 0.1, 999).astype(np.float32), float(i + 1), (f"d{i}",)) for i in range(9)]
    flat = combine(updates)
    assert (combine(updates[::-1]).values == flat.values).all()
    nested = combine([combine(updates[:4]), combine(updates[4:])])
    np.testing.assert_allclose(nested.values, flat.values, rtol=0, atol=1e-7)
    assert (nested.weight, nested.contributors) == (flat.weight, flat.contributors)
