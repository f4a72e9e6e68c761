"""Plans of one cluster of devices below one edge server, for tests of what goes device to device."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from node.plan import Cluster, Link, LinkKind, Module, Plan, Relay
from node.routing import Pair, orient
from tests.federation import make_plan, module

TIERS = {"cloud": "cloud", "e0": "edge"}


def graph(kind: str, count: int) -> list[Pair]:
    """Undirected edges over d0, d1, ..."""
    names = [f"d{i}" for i in range(count)]
    if kind == "star":
        return [(names[0], other) for other in names[1:]]
    if kind == "tree":
        return [(names[(i - 1) // 2], names[i]) for i in range(1, count)]
    line = list(pairwise(names))
    return [*line, (names[-1], names[0])] if kind == "ring" else line


def cluster_plan(
    edges: list[Pair],
    relay: Relay,
    *,
    head: str = "d0",
    modules: tuple[Module, ...] = (),
    rate_bps: float = 40e6,
    rates_bps: Mapping[Pair, float] | None = None,
    cluster: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Plan:
    """Links of equal rates both ways but for `rates_bps`."""
    names = sorted({name for edge in edges for name in edge})
    parents = {"cloud": None, "e0": "cloud", **dict.fromkeys(names, "e0")}
    rates = rates_bps or {}
    links = tuple(
        Link(src=a, dst=b, kind=LinkKind.D2D, rate_bps=rates.get((a, b), rate_bps), power_w=0.6)
        for edge in edges
        for a, b in (edge, edge[::-1])
    )
    tree = tuple(sorted(orient(edges, head).items()))
    found = Cluster(parent="e0", head=head, edges=tree, relay=relay, **(cluster or {}))
    modules = modules or (module("adapter", 9000, cluster=1), module("head/t", 300, task="t", cluster=1))
    return make_plan(parents, TIERS, modules, links, (found,), **fields)
