"""Heads and trees of device-to-device clusters, chosen for the smallest modelled round time or energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from node.plan import Cluster, Link, Relay
from node.routing import Pair, is_connected, minimum_spanning_tree, orient, tree_towards
from orchestrator.cost.relaying import away_s, crossings, hop, outward, towards_s

# Beyond this many members a tree is one of the two that it starts from: trying all exchanges of two edges grows
# with the fourth power of the members.
_MOST_MEMBERS = 12
Objective = Callable[[Cluster], float]


@dataclass(frozen=True)
class Pricing:
    """What one cluster spends on one payload of each member, per round."""

    links: Mapping[Pair, Link]  # of the graph, in both directions
    uplinks: Mapping[str, Link]  # member -> link to the parent
    size_bytes: float
    every: int | None  # rounds per synchronisation with the parent; None: there is none
    links_are_shared: bool

    def seconds(self, cluster: Cluster) -> float:
        hops = {pair: hop(link, self.size_bytes, chunks_count=True) for pair, link in self.links.items()}
        up = towards_s(cluster, hops, cluster.relay, links_are_shared=self.links_are_shared)
        return (
            up + self._downs * away_s(cluster, hops, cluster.relay) + self._uplink(cluster.head, joules=False)
        )

    def joules(self, cluster: Cluster) -> float:
        up = fsum(n * self._joules(self.links[p]) for p, n in crossings(cluster, cluster.relay).items())
        down = fsum(self._joules(self.links[pair]) for pair in outward(cluster))
        return up + self._downs * down + self._uplink(cluster.head, joules=True)

    @property
    def _downs(self) -> float:
        """Ways back inside the cluster: after a synchronisation the answer comes from above."""
        return 1.0 if self.every is None else 1 - 1 / self.every

    def _uplink(self, head: str, joules: bool) -> float:
        if self.every is None:
            return 0.0
        link = self.uplinks[head]
        return (self._joules(link) if joules else link.seconds(self.size_bytes)) / self.every

    def _joules(self, link: Link) -> float:
        return link.both_w * link.seconds(self.size_bytes)


def best_tree(parent: str, members: Sequence[str], edges: Sequence[Pair], relay: Relay, head: str,
              seconds: Mapping[Pair, float], objective: Objective) -> Cluster:  # fmt: skip
    """From the tree of the shortest paths and from the one of the fastest links, by exchanging one edge for
    another as long as that helps. Not always the best of all trees, never worse than these two."""

    def towards_head(tree: Sequence[Pair]) -> Cluster:
        hops = tuple(sorted(orient(tree, head).items()))
        return Cluster(parent=parent, head=head, edges=hops, relay=relay)

    slower = {(a, b): max(seconds[a, b], seconds[b, a]) for a, b in edges}
    starts = (tree_towards(edges, seconds, head), minimum_spanning_tree(slower))
    best = min(map(towards_head, starts), key=objective)
    while len(members) <= _MOST_MEMBERS:
        swapped = [towards_head(tree) for tree in _one_edge_exchanged(best.edges, members, edges)]
        better = min(swapped, key=objective, default=best)
        if objective(better) >= objective(best) * (1 - 1e-9):
            break
        best = better
    return best


def _one_edge_exchanged(
    tree: Sequence[Pair], members: Sequence[str], edges: Sequence[Pair]
) -> list[list[Pair]]:
    """All spanning trees that differ from this one in one edge."""
    there = {frozenset(edge) for edge in tree}
    found: list[list[Pair]] = []
    for added in edges:
        if frozenset(added) in there:
            continue
        for gone in tree:
            other = [edge for edge in tree if edge != gone] + [added]
            if is_connected(members, other):
                found.append(other)
    return found
