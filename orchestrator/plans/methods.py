"""The names of the methods that are compared, and the circulation that each name stands for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from node.plan import CLUSTER_TIER, Relay

FORMS = (
    "star, edge-only, edge-only+d2d, hf-fm-E, hf-fm+d2d-E (E a whole number, 1 or more), network-aware, "
    "network-aware+d2d, with +d2d also "
    "METHOD@store-and-forward, METHOD@cut-through, METHOD@aggregate, METHOD@consensus"
)
CONSENSUS = "consensus"
NETWORK_AWARE = "network-aware"
_EXAMPLES = (
    *("star", "edge-only", "edge-only+d2d", "hf-fm-2", "hf-fm+d2d-2"),
    *(NETWORK_AWARE, f"{NETWORK_AWARE}+d2d"),
)
_HF_FM = re.compile(r"hf-fm(\+d2d)?-(\d+)")


@dataclass(frozen=True)
class Method:
    """One column of the comparison (arXiv 2509.03695, Section IV)."""

    name: str
    flat: bool = False  # devices report straight to the root: no aggregator between them
    d2d: bool = False  # modules travel device to device to the head of their cluster
    every: int | None = None  # E: rounds of one tier in each round of the tier above; None: never above
    # What goes device to device: a way of relaying or `consensus`; None: as the scenario says.
    exchange: str | None = None
    # Periods, depth and path of each module follow from the scenario's `policy`; with `d2d` both paths are open.
    adaptive: bool = False

    @property
    def edge_only(self) -> bool:
        return not self.flat and self.every is None


def parse_method(name: str) -> Method:
    """Raises ValueError, with the remedy, for a name that is no method."""
    plain, at, exchange = name.partition("@")
    if at:
        method = _parse_plain(plain)
        if not method.d2d or exchange not in (*Relay, CONSENSUS):
            why = "only methods with +d2d have one" if not method.d2d else f"there is no '{exchange}'"
            raise ValueError(f"method '{name}': {why} after the @; methods are {FORMS}")
        return replace(method, name=name, exchange=exchange)
    return _parse_plain(name)


def _parse_plain(name: str) -> Method:
    if name == "star":
        return Method(name, flat=True, every=1)
    if name in (NETWORK_AWARE, f"{NETWORK_AWARE}+d2d"):
        return Method(name, d2d=name.endswith("+d2d"), adaptive=True)
    if name in ("edge-only", "edge-only+d2d"):
        return Method(name, d2d=name.endswith("+d2d"))
    found = _HF_FM.fullmatch(name)
    if found is None:
        near = difflib.get_close_matches(name, _EXAMPLES, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(f"unknown method '{name}'; {hint}methods are {FORMS}")
    every = int(found[2])
    if not 1 <= every <= 1_000_000 or found[2] != str(every):
        raise ValueError(
            f"method '{name}': the number after the last dash is E, from 1; write e.g. '{name[: found.start(2)]}2'"
        )
    return Method(name, d2d=found[1] is not None, every=every)


def ladder(method: Method, tiers: Sequence[str]) -> list[str]:
    """The tiers that exist under this method, from the lowest that can average up to the root.

    `tiers` are the scenario's, from the root down.
    """
    if method.flat:
        return [tiers[0]]
    return [CLUSTER_TIER, *reversed(tiers)] if method.d2d else list(reversed(tiers))


def periods(method: Method, tiers: Sequence[str]) -> dict[str, int]:
    """Tier -> every how many rounds of the devices it averages.

    An aggregator runs E rounds of its children in each round of its own: {edge: 1, region: E, cloud: E*E}.
    With D2D the head of the cluster averages in every round in the place of the lowest aggregator, which is
    asked only as often as the tier above it: {cluster: 1, edge: E, region: E, cloud: E*E}.
    Empty where the policy decides.
    """
    if method.adaptive:
        return {}
    rungs = ladder(method, tiers)
    if method.every is None:
        return {rungs[0]: 1}
    levels = rungs[1:] if method.d2d else rungs
    found = {tier: method.every**level for level, tier in enumerate(levels)}
    if method.d2d:
        found[levels[0]] = method.every
        found = {CLUSTER_TIER: 1, **found}
    return found
