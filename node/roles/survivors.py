"""A cluster after some of its devices, or links between them, were lost: who is left, who collects, and the ways.

The parent and all devices compute this from the plan and the list of what was lost, so that they agree in every
round: heads go on taking turns, and routes follow links that move.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, log

from node.plan import Cluster, Gossip, LinkKind, Plan
from node.routing import Pair, contraction, orient, shortest_times, tree_towards


class Survivors:
    """What is left of one cluster; as planned while nothing is lost."""

    def __init__(self, plan: Plan, planned: Cluster) -> None:
        self.attempt = 0  # counts what the parent told
        self.lost: set[str] = set()
        self.broken: set[frozenset[str]] = set()  # links that a device could not use
        self._plan = plan
        self._planned = planned
        self._known: dict[int, Cluster] = {}  # round -> cluster

    def lose(self, attempt: int, lost: Iterable[str], broken: Iterable[Iterable[str]]) -> None:
        """All that is lost by now."""
        self.attempt, self.lost, self.broken = attempt, set(lost), set(map(frozenset, broken))
        self._known.clear()

    def at(self, round_index: int) -> Cluster:
        """Devices that still reach each other, as many as possible, the planned head's own among equals; the turn
        of a head that is not among them falls to the others."""
        planned = self._planned.at(round_index)
        if not self.lost and not self.broken:
            return planned
        if round_index not in self._known:
            self._known[round_index] = self._regrouped(planned, round_index)
        return self._known[round_index]

    def _regrouped(self, planned: Cluster, round_index: int) -> Cluster:
        seconds = self._seconds(round_index)
        groups = [sorted({m, *orient(seconds, m)}) for m in self._left]
        group = max(groups, key=lambda g: (len(g), planned.head in g), default=[planned.head])
        head = planned.head if planned.head in group else self._stand_in(round_index, group, seconds)
        edges = [(a, b) for a, b in seconds if a in group and b in group]
        tree = tuple(tree_towards(edges, seconds, head)) if edges else ()
        return planned.turned(head, tree, _among(planned.gossip, edges))

    @property
    def _left(self) -> list[str]:
        return sorted(set(self._planned.members) - self.lost)

    def _seconds(self, round_index: int) -> dict[Pair, float]:
        """Of the links that are left, for a payload of all modules."""
        size, left = self._plan.padded_bytes([m.name for m in self._plan.modules]), set(self._left)
        links = (self._plan.link_at(k.src, k.dst, round_index) for k in self._plan.links)
        found = {
            (k.src, k.dst): k.seconds(size)
            for k in links
            if k is not None
            and not k.gone
            and k.kind is LinkKind.D2D
            and {k.src, k.dst} <= left
            and frozenset((k.src, k.dst)) not in self.broken
        }
        return {pair: s for pair, s in found.items() if pair[::-1] in found}

    def _stand_in(self, round_index: int, group: list[str], seconds: Mapping[Pair, float]) -> str:
        """One after the other of those who take turns; else who is reached by all in the shortest time."""
        turning = [h for h in dict.fromkeys(t.head for t in self._planned.turns) if h in group]
        if turning:
            return turning[self._planned.turn_count(round_index) % len(turning)]
        reverse = {(b, a): s for (a, b), s in seconds.items()}
        return min(group, key=lambda node: max(shortest_times(reverse, node)[0].values()))


def _among(gossip: Gossip | None, edges: Iterable[Pair]) -> Gossip | None:
    """A consensus goes on over all links that are left, so often that it comes as close as planned."""
    if gossip is None:
        return None
    left = tuple(sorted({(min(e), max(e)) for e in edges}))
    share = contraction(left)
    count = gossip.iterations
    if share and gossip.contraction:
        count = max(1, ceil(count * log(gossip.contraction) / log(share) - 1e-9))
    return Gossip(edges=left, iterations=count, contraction=share)
