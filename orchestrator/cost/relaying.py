"""What one exchange inside a device-to-device cluster takes: to the head, and back from it; or without a head.

Everybody has its update ready at time 0. A payload that goes on as it comes is a fluid but for its first chunk: a
hop adds that chunk's time, and the slowest link on the way sets the pace (cut-through switching; Kermani and
Kleinrock, "Virtual cut-through", Computer Networks 3, 1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import fsum
from types import MappingProxyType

from node.plan import Cluster, Gossip, Link, Relay
from node.routing import Pair, path
from node.wire.pacing import CUT_BYTES, chunk_bytes

_ALL_THE_SAME: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class Hop:
    """One payload over one link."""

    seconds: float  # from its first byte to its last
    first_s: float = 0.0  # until its first chunk is across and can go on; at most `seconds`
    # Origin -> the seconds of its payload, where members that go this way have payloads of different sizes.
    others_s: Mapping[str, float] = field(default_factory=dict)

    def of(self, origin: str) -> Hop:
        """The payload of one member."""
        seconds = self.others_s.get(origin, self.seconds)
        return Hop(seconds, min(self.first_s, seconds))


Hops = Mapping[Pair, Hop]


def hop(
    link: Link, size_bytes: float, others: Mapping[str, float] = _ALL_THE_SAME, *, chunks_count: bool
) -> Hop:
    """`others`: origin -> bytes, where they differ. `chunks_count`: whether a chunk takes time, or payloads go on
    byte by byte. What has no bytes is not sent."""
    largest = max(size_bytes, *others.values()) if others else size_bytes
    first = min(largest, chunk_bytes(link, CUT_BYTES)) if chunks_count else 0.0
    different = {origin: size for origin, size in others.items() if size != size_bytes}
    seconds = {origin: link.seconds(size) if size else 0.0 for origin, size in different.items()}
    return Hop(
        link.seconds(size_bytes) if size_bytes else 0.0, link.seconds(first) if largest else 0.0, seconds
    )


def crossings(cluster: Cluster, relay: Relay) -> dict[Pair, int]:
    """How many payloads cross each link of the tree on the way to the head."""
    hops = cluster.toward_head
    if relay is Relay.AGGREGATE:
        return dict.fromkeys(hops.items(), 1)
    return {(node, near): len(cluster.subtree(node)) for node, near in hops.items()}


def carried_s(cluster: Cluster, hops: Hops, relay: Relay) -> dict[Pair, float]:
    """For how long each link of the tree is busy on the way to the head, with all that it carries."""
    if relay is Relay.AGGREGATE:
        return {pair: hops[pair].seconds for pair in cluster.toward_head.items()}
    return {
        (node, near): fsum(hops[node, near].of(origin).seconds for origin in cluster.subtree(node))
        for node, near in cluster.toward_head.items()
    }


def outward(cluster: Cluster) -> list[Pair]:
    """The links that carry the aggregate from the head to all members, once each."""
    return [(near, node) for node, near in cluster.toward_head.items()]


def towards_s(cluster: Cluster, hops: Hops, relay: Relay, *, links_are_shared: bool) -> float:
    """Until the head has everything.

    store-and-forward, shared: a link carries one payload after the other, in the order of arrival.
    store-and-forward, not shared: every payload has each link to itself, as published.
    cut-through, shared: a link is busy with all payloads of its subtree, from its sender's own on.
    cut-through, not shared: every payload goes at the pace of the slowest link on its way.
    aggregate: a relay's payload starts when the first chunks of its whole subtree are there.
    """
    if relay is Relay.STORE_AND_FORWARD:
        if links_are_shared:
            return max(arrival_s for arrival_s, _ in _arrivals_s(cluster, hops, cluster.head))
        ways = _ways(cluster, hops)
        return max((sum(one.seconds for one in way) for way in ways), default=0.0)
    if relay is Relay.AGGREGATE or links_are_shared:
        loads = carried_s(cluster, hops, relay)
        return streamed_s(cluster, {k: Hop(s, hops[k].first_s) for k, s in loads.items()}, relay)
    return max((_one_stream_s(way) for way in _ways(cluster, hops)), default=0.0)


def _ways(cluster: Cluster, hops: Hops) -> Iterator[list[Hop]]:
    """Each member's payload on its way to the head."""
    for node in cluster.toward_head:
        yield [hops[link].of(node) for link in path(cluster.toward_head, node)]


def streamed_s(cluster: Cluster, loads: Hops, relay: Relay) -> float:
    """The same for payloads that go on as they come, by what each link carries in all."""
    if relay is Relay.AGGREGATE:
        return _summed_s(cluster, loads, cluster.head)[1]
    return _streams_s(cluster, loads, cluster.head)


def away_s(cluster: Cluster, hops: Hops, relay: Relay) -> float:
    """Until all members have the aggregate; a relay sends it on to all its neighbours at once."""
    found = 0.0
    for node in cluster.toward_head:
        way = [hops[b, a] for a, b in reversed(path(cluster.toward_head, node))]
        whole = relay is Relay.STORE_AND_FORWARD
        found = max(found, sum(one.seconds for one in way) if whole else _one_stream_s(way))
    return found


def consensus_s(gossip: Gossip, hops: Hops) -> float:
    """In each iteration all exchange with all their neighbours at once; the slowest link ends it."""
    return gossip.iterations * max((one.seconds for one in hops.values()), default=0.0)


def _one_stream_s(way: list[Hop]) -> float:
    """One payload with all links to itself: it starts on each when its first chunk is there, and its last byte
    follows over the rest of the way one chunk at a time."""
    return max(
        (sum(h.first_s for h in way[:i]) + way[i].seconds + sum(h.first_s for h in way[i + 1 :]))
        for i in range(len(way))
    )


def _summed_s(cluster: Cluster, loads: Hops, node: str) -> tuple[float, float]:
    """When the first chunk and the last byte of a subtree's sum can leave `node`."""
    first = last = 0.0
    for child in cluster.children(node):
        one = loads[child, node]
        child_first, child_last = _summed_s(cluster, loads, child)
        first = max(first, child_first + one.first_s)
        last = max(last, child_first + one.seconds, child_last + one.first_s)
    return first, last


def _streams_s(cluster: Cluster, loads: Hops, node: str) -> float:
    """When the last of a subtree's payloads is at `node`. Every link works from time 0 on, since its sender's own
    payload lies ready, so that it is done when it has carried all, or one chunk after the last came in."""
    last = 0.0
    for child in cluster.children(node):
        one = loads[child, node]
        last = max(last, one.seconds, _streams_s(cluster, loads, child) + one.first_s)
    return last


def _arrivals_s(cluster: Cluster, hops: Hops, node: str) -> list[tuple[float, str]]:
    """When each payload of the subtree is at `node`, in ascending order; its own is there from the start."""
    found = [(0.0, node)]
    for child in cluster.children(node):
        free_s = 0.0
        for arrival_s, origin in _arrivals_s(cluster, hops, child):
            free_s = max(free_s, arrival_s) + hops[child, node].of(origin).seconds
            found.append((free_s, origin))
    return sorted(found)
