"""What one exchange inside a device-to-device cluster takes: to the head, and back from it.

Times are those of one payload on each link; everybody has its update ready at time 0.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.plan import Cluster, Relay
from node.routing import Pair, path

Times = Mapping[Pair, float]


def crossings(cluster: Cluster) -> dict[Pair, int]:
    """How many payloads cross each link of the tree on the way to the head."""
    hops = cluster.toward_head
    if cluster.relay is Relay.AGGREGATE:
        return dict.fromkeys(hops.items(), 1)
    return {(node, hop): len(cluster.subtree(node)) for node, hop in hops.items()}


def outward(cluster: Cluster) -> list[Pair]:
    """The links that carry the aggregate from the head to all members, once each."""
    return [(hop, node) for node, hop in cluster.toward_head.items()]


def towards_s(cluster: Cluster, times: Times, *, links_are_shared: bool) -> float:
    """Until the head has everything.

    store-and-forward, shared: a link carries one payload after the other, in the order of arrival.
    store-and-forward, not shared: every payload has each link to itself, as published.
    aggregate: a relay waits for its whole subtree and sends one payload.
    """
    if cluster.relay is Relay.AGGREGATE:
        return _ready_s(cluster, times, cluster.head)
    if links_are_shared:
        return max(_arrivals_s(cluster, times, cluster.head))
    hops = cluster.toward_head
    return max((sum(times[link] for link in path(hops, node)) for node in hops), default=0.0)


def away_s(cluster: Cluster, times: Times) -> float:
    """Until all members have the aggregate; a relay sends it on to all its neighbours at once."""
    hops = cluster.toward_head
    return max((sum(times[b, a] for a, b in path(hops, node)) for node in hops), default=0.0)


def _ready_s(cluster: Cluster, times: Times, node: str) -> float:
    below = (_ready_s(cluster, times, child) + times[child, node] for child in cluster.children(node))
    return max(below, default=0.0)


def _arrivals_s(cluster: Cluster, times: Times, node: str) -> list[float]:
    """When each payload of the subtree is at `node`, in ascending order; its own is there from the start."""
    found = [0.0]
    for child in cluster.children(node):
        free_s = 0.0
        for arrival_s in _arrivals_s(cluster, times, child):
            free_s = max(free_s, arrival_s) + times[child, node]
            found.append(free_s)
    return sorted(found)
