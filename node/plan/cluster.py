"""Clusters: devices joined by device-to-device links, their head and their tree."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated

from pydantic import Field

from node.plan.frozen import Frozen
from node.plan.modules import Module, Relay


class Gossip(Frozen):
    """Consensus in the place of a head: every device averages with its neighbours, so many times."""

    edges: tuple[tuple[str, str], ...]  # the whole undirected graph, in ascending order
    iterations: Annotated[int, Field(ge=1)]
    # Second largest modulus of the eigenvalues of the Metropolis matrix over `edges`: what remains of the
    # disagreement after one more iteration. 1 less this is the spectral gap.
    contraction: Annotated[float, Field(ge=0, lt=1)]


class Turn(Frozen):
    """Head and tree of a cluster from some round on. Members that it leaves out take their uplinks."""

    first_round: Annotated[int, Field(ge=0)]
    head: str
    edges: tuple[tuple[str, str], ...]


class Cluster(Frozen):
    """The devices below one aggregator that are joined by device-to-device links."""

    parent: str  # the aggregator that the head reports to
    head: str
    edges: tuple[tuple[str, str], ...]  # the undirected spanning tree that payloads follow
    relay: Relay = Relay.STORE_AND_FORWARD
    gossip: Gossip | None = None  # given: nobody collects; the head is only who reports to the parent
    objective: str = ""  # how the head and the tree were chosen
    turns: tuple[Turn, ...] = ()  # in ascending order, the first from round 0; none: always as above
    repeats_after: Annotated[int, Field(ge=1)] | None = None  # rounds, after which the turns begin again

    @cached_property
    def toward_head(self) -> dict[str, str]:
        """Next hop of every member except the head."""
        hops: dict[str, str] = {}
        frontier = [self.head]
        while frontier:
            node = frontier.pop(0)
            for a, b in self.edges:
                for near, far in ((a, b), (b, a)):
                    if near == node and far != self.head and far not in hops:
                        hops[far] = node
                        frontier.append(far)
        return hops

    @property
    def members(self) -> list[str]:
        """In ascending order."""
        return sorted({self.head, *(node for edge in self.edges for node in edge)})

    def at(self, round_index: int) -> Cluster:
        """The cluster in this round: its head and its tree may change."""
        r = round_index % self.repeats_after if self.repeats_after else round_index
        return next((self._turned[i] for i, t in _backwards(self.turns) if t.first_round <= r), self)

    def turn_count(self, round_index: int) -> int:
        """How often the turns have begun again by this round, or which turn it is where they do not."""
        if self.repeats_after:
            return round_index // self.repeats_after
        return sum(t.first_round <= round_index for t in self.turns)

    def turned(self, head: str, edges: tuple[tuple[str, str], ...], gossip: Gossip | None) -> Cluster:
        """With another head and tree, for good (`model_copy` would keep what was derived from the old ones)."""
        kept = {name: getattr(self, name) for name in ("parent", "relay", "objective")}
        return Cluster(head=head, edges=edges, gossip=gossip, **kept)

    @cached_property
    def _turned(self) -> list[Cluster]:
        return [self.turned(t.head, t.edges, self.gossip) for t in self.turns]

    def relays(self, module: Module) -> Relay:
        """How this module goes from device to device here."""
        return module.relay or self.relay

    def hides(self, module: Module) -> bool:
        """Whether its updates are added up on their way, so that nobody sees every one."""
        return self.gossip is not None or self.relays(module) is Relay.AGGREGATE

    def children(self, node: str) -> list[str]:
        """Members whose next hop towards the head is `node`."""
        return sorted(far for far, near in self.toward_head.items() if near == node)

    def subtree(self, node: str) -> list[str]:
        """`node` and all members whose way to the head leads through it, in ascending order."""
        found = [node]
        for member in found:
            found.extend(self.children(member))
        return sorted(found)


def _backwards(turns: tuple[Turn, ...]) -> Iterator[tuple[int, Turn]]:
    return reversed(list(enumerate(turns)))
