"""Consensus over a device-to-device graph: how fast it comes."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log

import numpy as np

from node.plan import Gossip
from node.routing import Pair, metropolis_weights


def contraction(edges: Sequence[Pair]) -> float:
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


def iterations_for(tolerance: float, share: float) -> int:
    """Until the disagreement is at most this share of what it was, with `share` left after each iteration."""
    return 1 if share == 0 else max(1, ceil(log(tolerance) / log(share) - 1e-9))


def gossip_over(edges: Sequence[Pair], iterations: int | None, tolerance: float) -> Gossip:
    """`iterations`: None: as many as the tolerance needs."""
    share = contraction(edges)
    needed = iterations or iterations_for(tolerance, share)
    return Gossip(edges=tuple(sorted(edges)), iterations=needed, contraction=share)
