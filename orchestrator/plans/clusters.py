"""Device-to-device clusters: the graph that joins the devices of an aggregator, its head, and the tree to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import dist
from typing import Any

from node.plan import Cluster, LinkKind, Relay, Turn
from node.randomness import generator
from node.routing import Pair, is_connected, minimum_spanning_tree, orient, proximity_graph, tree_towards
from orchestrator.cost.gossip import gossip_over
from orchestrator.cost.heads import Objective, Pricing, best_tree
from orchestrator.plans.links import Links, seconds_of
from orchestrator.plans.methods import CONSENSUS, Method
from orchestrator.plans.moving import Moving, Timeline
from orchestrator.plans.scenario import D2dSpec, Scenario
from orchestrator.plans.topology import Network


def build_clusters(
    scenario: Scenario,
    method: Method,
    network: Network,
    links: Links,
    payload_bytes: float,
    rounds: int,
    timeline: Timeline,
) -> list[Cluster]:
    """One cluster per lowest aggregator. The links of its graph, in both directions, are added to the timeline."""
    clusters: list[Cluster] = []
    parents = [a.id for a in network.aggregators if a.tier == network.tiers[-1]]
    heads = _heads(scenario, network, parents)
    for parent in parents:
        members = network.members(parent)
        edges = _graph(scenario, network, links, parent, members, payload_bytes)
        pairs = [pair for edge in edges for pair in (edge, edge[::-1])]
        graphs = Moving(scenario, links, members, rounds).from_rounds(pairs)
        uplinks = {r: {m: links.at(r).needed(m, parent, LinkKind.UPLINK) for m in members} for r in graphs}
        shared = links.channel != "published"
        priced = {r: Pricing(g, uplinks[r], payload_bytes, method.every, shared) for r, g in graphs.items()}
        grouping = _Grouping(scenario, method, parent, heads.get(parent, members), rounds)
        clusters.append(grouping.cluster(priced))
        timeline.add(graphs)
    return clusters


@dataclass(frozen=True)
class _Grouping:
    """Head and tree of one cluster, at first and whenever they change."""

    scenario: Scenario
    method: Method
    parent: str
    heads: list[str]  # candidates, or all in their turns
    rounds: int

    def cluster(self, priced: Mapping[int, Pricing]) -> Cluster:
        """`priced`: round -> what the links from then on cost."""
        spec, every = self.scenario.topology.d2d, self.method.every or 1
        rotates = spec.heads == "rotating" and len(self.heads) > 1
        horizon = len(self.heads) * every if rotates and len(priced) == 1 else self.rounds
        starts = {r for r in priced if r < horizon} | (set(range(0, horizon, every)) if rotates else {0})
        turns: list[Turn] = []
        for r in sorted(starts):
            heads = [self.heads[r // every % len(self.heads)]] if rotates else self.heads
            one = self._at(priced[max(k for k in priced if k <= r)], heads)
            if not turns or (turns[-1].head, turns[-1].edges) != (one.head, one.edges):
                turns.append(Turn(first_round=r, head=one.head, edges=one.edges))
        extra: dict[str, Any] = {"objective": _told(spec, self._tree), "turns": tuple(turns)}
        if len(turns) == 1:
            extra["turns"] = ()
        elif len(priced) == 1:
            extra["repeats_after"] = horizon
        if self.method.exchange == CONSENSUS or (self.method.exchange is None and spec.exchange == CONSENSUS):
            if any(set(now.links) != set(priced[0].links) for now in priced.values()):
                why = "a consensus needs a graph that does not move; leave out moves and mobility"
                raise self.scenario.error("topology.d2d.exchange", why)
            edges = sorted({(min(p), max(p)) for p in priced[0].links})
            extra["gossip"] = gossip_over(edges, spec.consensus.iterations, spec.consensus.tolerance)
        first = turns[0]
        return Cluster(parent=self.parent, head=first.head, edges=first.edges, relay=self._relay, **extra)

    def _at(self, pricing: Pricing, heads: list[str]) -> Cluster:
        """The devices that still reach each other, as many as possible; a head that is not among them gives its
        place to the one of the smallest modelled round time."""
        seconds = seconds_of(pricing.links.values(), pricing.size_bytes)
        edges = sorted({(min(p), max(p)) for p in pricing.links if p[::-1] in pricing.links})
        groups = [sorted({m, *orient(edges, m)}) for m in sorted(pricing.uplinks)]
        group = max(groups, key=lambda g: (len(g), any(h in g for h in heads)))
        own = [edge for edge in edges if edge[0] in group]
        usable = [h for h in heads if h in group]
        found = [self._towards(h, own, group, seconds, pricing) for h in usable or group]
        chosen = self.scenario.topology.d2d.heads
        name = chosen if chosen in ("latency", "energy") else "latency"
        return min(found, key=_objective(str(name), pricing)) if len(found) > 1 else found[0]

    def _towards(
        self, head: str, edges: list[Pair], group: list[str], seconds: dict[Pair, float], pricing: Pricing
    ) -> Cluster:
        if self._tree == "shortest":
            hops = tuple(tree_towards(edges, seconds, head))
            return Cluster(parent=self.parent, head=head, edges=hops, relay=self._relay)
        objective = _objective(self._tree, pricing)
        return best_tree(self.parent, group, edges, self._relay, head, seconds, objective)

    @property
    def _relay(self) -> Relay:
        exchange = self.method.exchange
        return Relay(exchange) if exchange in set(Relay) else self.scenario.topology.d2d.relay

    @property
    def _tree(self) -> str:
        spec = self.scenario.topology.d2d
        return spec.tree or (str(spec.heads) if spec.heads in ("latency", "energy") else "shortest")


def _objective(name: str, pricing: Pricing) -> Objective:
    return pricing.joules if name == "energy" else pricing.seconds


def _told(spec: D2dSpec, tree: str) -> str:
    """What the plan says about how head and tree were chosen."""
    heads = spec.heads if isinstance(spec.heads, str) else "fixed"
    best = {"latency": "smallest modelled round time", "energy": "smallest modelled energy"}
    ways = {**best, "shortest": "shortest paths"}
    return f"head: {best.get(heads, heads)}; tree: {ways[tree]}"


def _heads(scenario: Scenario, network: Network, parents: list[str]) -> dict[str, list[str]]:
    """The candidates of each cluster: one, all from a random one on where they take turns, or none named."""
    spec = scenario.topology.d2d
    if isinstance(spec.heads, tuple):
        return {p: [head] for p, head in _named_heads(scenario, network, parents, spec.heads).items()}
    if spec.heads in ("latency", "energy"):
        return {}
    draws = {p: str(generator(scenario.seed, p, "head").choice(network.members(p))) for p in parents}
    if spec.heads == "random":
        return {p: [head] for p, head in draws.items()}
    rings = {p: sorted(network.members(p)) for p in parents}
    return {p: ring[(i := ring.index(draws[p])) :] + ring[:i] for p, ring in rings.items()}


def _named_heads(
    scenario: Scenario, network: Network, parents: list[str], named: tuple[str | int, ...]
) -> dict[str, str]:
    heads: dict[str, str] = {}
    parent_of = {d.id: d.parent for d in network.devices}
    for i, given in enumerate(named):
        key = f"topology.d2d.heads[{i}]"
        if isinstance(given, int) and not 0 <= given < len(network.devices):
            raise scenario.error(key, f"no device {given}; they count from 0 to {len(network.devices) - 1}")
        head = network.devices[given].id if isinstance(given, int) else given
        parent = parent_of.get(head)
        if parent is None:
            raise scenario.error(key, f"no device '{head}'; they are {_some(list(parent_of))}")
        if parent in heads:
            raise scenario.error(key, f"'{head}' and '{heads[parent]}' are both below '{parent}'; keep one")
        heads[parent] = head
    if missing := [p for p in parents if p not in heads]:
        why = f"no head for the cluster of '{missing[0]}'; add one of {_some(network.members(missing[0]))}"
        raise scenario.error("topology.d2d.heads", f"{why}, or write heads: random")
    return heads


def _graph(
    scenario: Scenario, network: Network, links: Links, parent: str, members: list[str], payload_bytes: float
) -> list[Pair]:
    spec = scenario.topology.d2d
    key = "topology.d2d.graph"
    graph = spec.graph
    if isinstance(graph, dict):
        key = f"{key}.{parent}"
        if unknown := sorted(set(graph) - {a.id for a in network.aggregators}):
            raise scenario.error(f"topology.d2d.graph.{unknown[0]}", "no such aggregator; correct the name")
        graph = graph.get(parent, "mst")
    if isinstance(graph, tuple):
        return _listed(scenario, network, graph, members, key)
    if graph == "mst":
        return _nearest(spec, network, links, members, payload_bytes)
    if graph == "random-geometric":
        return _random_geometric(scenario.seed, parent, members, spec.radius)
    return family(graph, members)


def family(name: str, members: list[str]) -> list[Pair]:
    """Edges of a graph family over members in the given order; the first is the centre of a star."""
    if name == "complete":
        return list(combinations(members, 2))
    if name == "star":
        return [(members[0], other) for other in members[1:]]
    line = list(pairwise(members))
    return [*line, (members[-1], members[0])] if name == "ring" and len(members) > 2 else line


def _nearest(
    spec: D2dSpec, network: Network, links: Links, members: list[str], payload_bytes: float
) -> list[Pair]:
    pairs = [(a, b) for a in members for b in members if a != b]
    seconds = seconds_of((links.needed(a, b, LinkKind.D2D) for a, b in pairs), payload_bytes)
    apart = {(a, b): network.distance_m(a, b) for a, b in pairs}
    return proximity_graph(
        seconds, {pair: float("inf") if d is None else d for pair, d in apart.items()}, spec.within_m
    )


def _random_geometric(seed: int, parent: str, members: list[str], radius: float) -> list[Pair]:
    """Points drawn from a square of side 1, joined within `radius`, completed by the shortest spanning tree."""
    points = dict(
        zip(members, generator(seed, parent, "d2d").random((len(members), 2)).tolist(), strict=True)
    )
    apart = {(a, b): dist(points[a], points[b]) for a, b in combinations(members, 2)}
    near = {pair for pair, d in apart.items() if d <= radius}
    if not is_connected(members, near):
        near |= set(minimum_spanning_tree(apart))
    return sorted(near)


def _listed(
    scenario: Scenario, network: Network, pairs: tuple[Pair, ...], members: list[str], key: str
) -> list[Pair]:
    """The written pairs that belong to this cluster."""
    parent_of = {d.id: d.parent for d in network.devices}
    for a, b in pairs:
        if a == b or parent_of.get(a) is None or parent_of.get(a) != parent_of.get(b):
            raise scenario.error(
                key, f"[{a}, {b}]: not two devices of one cluster; devices are {_some(list(parent_of))}"
            )
    own = sorted({(min(a, b), max(a, b)) for a, b in pairs if a in members})
    if not is_connected(members, own):
        raise scenario.error(
            key, f"its pairs do not join {_some(members)} to each other; add the missing ones"
        )
    return own


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
