"""Consensus over a device-to-device graph: how fast it comes."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log

from node.plan import Gossip
from node.routing import Pair, contraction


def iterations_for(tolerance: float, share: float) -> int:
    """Until the disagreement is at most this share of what it was, with `share` left after each iteration."""
    return 1 if share == 0 else max(1, ceil(log(tolerance) / log(share) - 1e-9))


def gossip_over(edges: Sequence[Pair], iterations: int | None, tolerance: float) -> Gossip:
    """`iterations`: None: as many as the tolerance needs."""
    share = contraction(edges)
    needed = iterations or iterations_for(tolerance, share)
    return Gossip(edges=tuple(sorted(edges)), iterations=needed, contraction=share)
