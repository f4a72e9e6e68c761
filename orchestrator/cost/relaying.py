"""What one exchange inside a device-to-device cluster takes: to the head, and back from it; or without a head.

Everybody has its update ready at time 0. A payload that goes on as it comes is a fluid but for its first chunk: a
hop adds that chunk's time, and the slowest link on the way sets the pace (cut-through switching; Kermani and
Kleinrock, "Virtual cut-through", Computer Networks 3, 1979).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node.plan import Cluster, Gossip, Link, Relay
from node.routing import Pair, path
from node.wire.pacing import CUT_BYTES, chunk_bytes


@dataclass(frozen=True)
class Hop:
    """One payload over one link."""

    seconds: float  # from its first byte to its last
    first_s: float = 0.0  # until its first chunk is across and can go on; at most `seconds`


Hops = Mapping[Pair, Hop]


def hop(link: Link, size_bytes: float, *, chunks_count: bool) -> Hop:
    """`chunks_count`: whether a chunk takes time, or payloads go on byte by byte."""
    first = min(size_bytes, chunk_bytes(link, CUT_BYTES)) if chunks_count else 0.0
    return Hop(link.seconds(size_bytes), link.seconds(first))


def crossings(cluster: Cluster, relay: Relay) -> dict[Pair, int]:
    """How many payloads cross each link of the tree on the way to the head."""
    hops = cluster.toward_head
    if relay is Relay.AGGREGATE:
        return dict.fromkeys(hops.items(), 1)
    return {(node, near): len(cluster.subtree(node)) for node, near in hops.items()}


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
            return max(_arrivals_s(cluster, hops, cluster.head))
        near = cluster.toward_head
        return max((sum(hops[link].seconds for link in path(near, node)) for node in near), default=0.0)
    if relay is Relay.AGGREGATE or links_are_shared:
        counts = crossings(cluster, relay)
        return streamed_s(
            cluster, {k: Hop(n * hops[k].seconds, hops[k].first_s) for k, n in counts.items()}, relay
        )
    ways = (path(cluster.toward_head, node) for node in cluster.toward_head)
    return max((_one_stream_s([hops[link] for link in way]) for way in ways), default=0.0)


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


def _arrivals_s(cluster: Cluster, hops: Hops, node: str) -> list[float]:
    """When each payload of the subtree is at `node`, in ascending order; its own is there from the start."""
    found = [0.0]
    for child in cluster.children(node):
        free_s = 0.0
        for arrival_s in _arrivals_s(cluster, hops, child):
            free_s = max(free_s, arrival_s) + hops[child, node].seconds
            found.append(free_s)
    return sorted(found)
