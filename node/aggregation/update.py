"""An update, and what every way of combining asks of it."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

from node.errors import PayloadRefused
from node.payload import Values


@dataclass(frozen=True)
class Update:
    """The mean of one module over the training of its contributors."""

    values: Values  # [P]
    weight: float  # training samples behind the mean
    contributors: tuple[str, ...]  # devices, ascending


def check_update(update: Update, counted: Set[str]) -> float:
    """The largest magnitude of its values. `counted`: the contributors of those before it.

    Raises PayloadRefused for a weight that is not positive, values that are not finite, or a contributor twice.
    """
    if not (math.isfinite(update.weight) and update.weight > 0):
        raise PayloadRefused(f"weight {update.weight} is not a positive number")
    twice = counted & set(update.contributors)
    if twice:
        raise PayloadRefused(f"'{min(twice)}' is already in this sum: it would count twice")
    peak = largest(update.values)
    if not math.isfinite(peak):
        raise PayloadRefused("values are not all finite: the sender's training diverged")
    return peak


def largest(values: Values) -> float:
    """Largest magnitude; NaN when any value is."""
    return float(max(values.max(), -values.min())) if len(values) else 0.0
