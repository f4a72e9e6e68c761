"""Which way payloads go: shortest paths, spanning trees and the way towards a head, as pure functions.

A directed graph is a mapping (src, dst) -> seconds; an undirected one is a collection of pairs. Ties are broken
by name, so that every node that computes a route computes the same one.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping

import numpy as np

Pair = tuple[str, str]
Seconds = Mapping[Pair, float]


def shortest_times(seconds: Seconds, source: str) -> tuple[dict[str, float], dict[str, str]]:
    """Dijkstra. For every node within reach: the time from `source`, and (but for `source`) the hop before it."""
    outgoing: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for (src, dst), cost in seconds.items():
        if cost < 0:
            raise ValueError(f"link {src} -> {dst}: {cost} seconds; a time cannot be negative")
        outgoing[src].append((dst, cost))
    times: dict[str, float] = {}
    before: dict[str, str] = {}
    queue: list[tuple[float, str, str]] = [(0.0, source, source)]
    while queue:
        time, node, previous = heapq.heappop(queue)
        if node in times:
            continue
        times[node] = time
        if node != source:
            before[node] = previous
        for neighbour, cost in outgoing[node]:
            if neighbour not in times:
                heapq.heappush(queue, (time + cost, neighbour, node))
    return times, before


def next_hops(seconds: Seconds, target: str) -> dict[str, str]:
    """The next hop towards `target` on the shortest path of every node that can reach it."""
    reverse = {(dst, src): cost for (src, dst), cost in seconds.items()}
    return shortest_times(reverse, target)[1]


def path(hops: Mapping[str, str], node: str) -> list[Pair]:
    """The links from `node` to where `hops` end."""
    links: list[Pair] = []
    while node in hops:
        if len(links) >= len(hops):
            raise ValueError(f"the next hops of '{node}' run in a circle")
        links.append((node, hops[node]))
        node = hops[node]
    return links


def is_connected(nodes: Collection[str], edges: Iterable[Pair]) -> bool:
    """Whether undirected `edges` join all `nodes`."""
    if not nodes:
        return True
    return set(nodes) <= set(orient(edges, min(nodes))) | {min(nodes)}


def orient(edges: Iterable[Pair], head: str) -> dict[str, str]:
    """Next hop towards `head`, by the fewest hops, of every node that undirected `edges` join to it."""
    neighbours: defaultdict[str, set[str]] = defaultdict(set)
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    hops: dict[str, str] = {}
    frontier = deque([head])
    while frontier:
        near = frontier.popleft()
        for far in sorted(neighbours[near]):
            if far != head and far not in hops:
                hops[far] = near
                frontier.append(far)
    return hops


def minimum_spanning_tree(weights: Mapping[Pair, float]) -> list[Pair]:
    """Kruskal over undirected pairs; a pair given in both directions counts at its smaller weight.

    Each pair comes back in ascending order. A graph that is not connected gives a forest.
    """
    smallest: dict[Pair, float] = {}
    for (a, b), weight in weights.items():
        pair = (min(a, b), max(a, b))
        smallest[pair] = min(weight, smallest.get(pair, weight))
    group: dict[str, str] = {node: node for pair in smallest for node in pair}

    def root(node: str) -> str:
        while group[node] != node:
            group[node] = group[group[node]]
            node = group[node]
        return node

    tree: list[Pair] = []
    for _, (a, b) in sorted((weight, pair) for pair, weight in smallest.items()):
        if root(a) != root(b):
            group[root(a)] = root(b)
            tree.append((a, b))
    return sorted(tree)


def proximity_graph(seconds: Seconds, distance_m: Mapping[Pair, float], within_m: float) -> list[Pair]:
    """The published device-to-device graph (arXiv 2509.03695, Section IV, and the released code).

    Pairs within `within_m` metres, completed by the minimum spanning tree over min(time there, time back).
    """
    near = {(min(pair), max(pair)) for pair in seconds if distance_m[pair] <= within_m}
    nodes = {node for pair in seconds for node in pair}
    if not is_connected(nodes, near):
        near |= set(minimum_spanning_tree(seconds))
    return sorted(near)


def tree_towards(edges: Iterable[Pair], seconds: Seconds, head: str) -> list[Pair]:
    """The shortest-path tree to `head` over undirected `edges`, as pairs (node, next hop) in ascending order."""
    usable = {(a, b): seconds[a, b] for edge in edges for a, b in (edge, edge[::-1])}
    return sorted(next_hops(usable, head).items())


def metropolis_weights(edges: Iterable[Pair]) -> dict[Pair, float]:
    """How much a node takes from itself (a, a) and from each neighbour (a, b) when all average with their
    neighbours: 1 / (1 + the larger of the two numbers of neighbours) (Xiao, Boyd and Lall, IPSN 2005). The matrix
    is symmetric and its rows add up to 1, so that repeating it leads everybody to the mean.
    """
    neighbours: defaultdict[str, set[str]] = defaultdict(set)
    for a, b in edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    weights: dict[Pair, float] = {}
    for node, others in sorted(neighbours.items()):
        for other in sorted(others):
            weights[node, other] = 1 / (1 + max(len(others), len(neighbours[other])))
        weights[node, node] = 1 - sum(weights[node, other] for other in sorted(others))
    return weights


def contraction(edges: Iterable[Pair]) -> float:
    """The second largest modulus of the eigenvalues of the Metropolis matrix: in every iteration, the distance to
    the mean shrinks at least to this share of what it was (Xiao and Boyd, "Fast linear iterations for distributed
    averaging", Systems & Control Letters 53, 2004). 1 less it is the spectral gap."""
    weights = metropolis_weights(edges)
    names = sorted({name for pair in weights for name in pair})
    if len(names) < 2:
        return 0.0
    matrix = np.array([[weights.get((a, b), 0.0) for b in names] for a in names])
    moduli = np.sort(np.abs(np.linalg.eigvalsh(matrix)))
    found = float(moduli[-2])
    return found if found > 1e-12 else 0.0
