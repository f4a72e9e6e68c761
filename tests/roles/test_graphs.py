"""Lines, rings, stars, trees and meshes of four and of eight devices, each a process of its own, over paced links:
every way of going device to device ends with the flat average of the cluster."""

from __future__ import annotations

import asyncio
from itertools import combinations
from typing import Any

import numpy as np
from hffm.v1 import control_pb2 as pb

from node.model.schema import initial_module
from node.payload import Values
from node.plan import Cluster, Gossip, Limits, Link, LinkKind, Plan, Relay
from node.routing import Pair, orient
from orchestrator.cost.gossip import gossip_over
from tests.federation import ArithmeticLearner, Federation, make_plan, module, step
from tests.processes import in_processes
from tests.roles.clusters import graph

KINDS = ("line", "ring", "star", "tree", "mesh")
RATE_BPS = 40e6
# Seventy processes on a few cores.
MANY = Limits(heartbeat_s=2.0, lease_s=60, connect_s=60, join_s=150, round_s=150, stall_s=60)


def edges_of(kind: str, names: list[str]) -> list[Pair]:
    if kind == "mesh":
        return [pair for i, pair in enumerate(combinations(names, 2)) if i % 4 != 3]
    numbered = {f"d{i}": name for i, name in enumerate(names)}
    return [(numbered[a], numbered[b]) for a, b in graph(kind, len(names))]


def ten_clusters(modules: tuple[Any, ...], gossips: bool = False) -> Plan:
    """One per kind and size, each below an edge server of its own; the second device of each is the head."""
    parents: dict[str, str | None] = {"cloud": None}
    clusters: list[Cluster] = []
    links: list[Link] = []
    for kind in KINDS:
        for count in (4, 8):
            edge = f"{kind}-{count}"
            names = [f"{edge}-{i}" for i in range(count)]
            parents |= {edge: "cloud", **dict.fromkeys(names, edge)}
            edges = edges_of(kind, names)
            gossip: Gossip | None = gossip_over(sorted(edges), None, 0.02) if gossips else None
            tree = tuple(sorted(orient(edges, names[1]).items()))
            clusters.append(Cluster(parent=edge, head=names[1], edges=tree, gossip=gossip))
            links += [
                Link(src=a, dst=b, kind=LinkKind.D2D, rate_bps=RATE_BPS, power_w=0.6)
                for pair in edges
                for a, b in (pair, pair[::-1])
            ]
    tiers = {name: "edge" for name, parent in parents.items() if parent == "cloud"}
    return make_plan(
        parents, {"cloud": "cloud", **tiers}, modules, tuple(links), tuple(clusters), limits=MANY
    )


class SameForAll(ArithmeticLearner):
    """Modules of the same values whatever their names, so that ways of relaying can be compared."""

    def train(self, modules: Any, round_index: int) -> Any:
        trained = super().train(modules, round_index)
        like = {name: module_like(self._device, values) for name, values in modules.items()}
        return type(trained)(like, {name: weight_of(self._device) for name in like}, trained.losses)


def module_like(device: str, values: Values) -> Values:
    return step(device, "any", 0, np.zeros_like(values))


def weight_of(device: str) -> int:
    return 5 + int(device.rsplit("-", 1)[1])


def flat_average(names: list[str], size: int) -> Values:
    zeros = np.zeros(size, np.float32)
    total = sum(weight_of(d) * module_like(d, zeros).astype(np.float64) for d in names)
    return np.asarray(total / sum(map(weight_of, names)), np.float32)


async def one_round(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    await running.until("ready", MANY.join_s)
    await running.control.StartRounds(pb.StartRoundsRequest(count=1))
    await running.until("ready", MANY.round_s)
    expected = len(running.plan.clusters) * len(running.plan.modules)
    async with asyncio.timeout(MANY.round_s):  # events may come after the round
        while True:
            made = [e for e in running.kind("aggregated") if e["tier"] == "cluster"]
            if len(made) >= expected:
                break
            await asyncio.sleep(0.05)
    return {"events": running.events, "modules": await running.modules()}


def heard(found: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [e for e in found["events"] if e["kind"] == kind]


def test_every_way_of_relaying_gives_the_flat_average() -> None:
    modules = tuple(
        module(f"m-{relay}", 20_000, cluster=1).model_copy(update={"relay": relay}) for relay in Relay
    )
    plan = ten_clusters(modules)
    found = in_processes(plan, one_round, SameForAll)
    assert not [e for e in heard(found, "warning") if "round" in e["message"]]
    told = {(e["node"], e["module"]): e["contributors"] for e in heard(found, "aggregated")}
    for cluster in plan.clusters:
        whole, cut, added = (found["modules"][cluster.head, f"m-{relay}"] for relay in Relay)
        assert (whole == cut).all(), cluster.parent  # the head adds the same whole updates up
        np.testing.assert_allclose(whole, flat_average(cluster.members, 20_000), rtol=0, atol=1e-7)
        np.testing.assert_allclose(added, whole, rtol=0, atol=1e-7)
        for relay in Relay:
            assert told[cluster.head, f"m-{relay}"] == cluster.members


def test_a_consensus_comes_as_close_as_its_tolerance() -> None:
    plan = ten_clusters((module("adapter", 20_000, cluster=1),), gossips=True)
    found = in_processes(plan, one_round, SameForAll)
    assert not [e for e in heard(found, "warning") if "round" in e["message"]]
    for cluster in plan.clusters:
        mean = flat_average(cluster.members, 20_000)
        start = initial_module(plan.modules[0], plan.seed)
        spread = max(np.linalg.norm(module_like(d, start) - mean) for d in cluster.members)
        # The tolerance is that of the sum over all members, and of values and weights alike.
        reached = np.linalg.norm(found["modules"][cluster.head, "adapter"] - mean)
        assert reached <= 0.02 * 2 * len(cluster.members) * spread, cluster.parent
