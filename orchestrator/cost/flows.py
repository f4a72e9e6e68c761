"""What travels together, and how much of it concerns whom: a node sends and gets the modules that it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import fsum

from node.plan import CLUSTER_TIER, Module, Plan, Relay


@dataclass(frozen=True)
class Flow:
    """Modules of one circulation."""

    sizes: Mapping[str, float]  # module -> bytes on the wire
    held: Mapping[str, frozenset[str]]  # node -> those of the modules that it holds, or somebody below it
    relay: Relay | None  # None: as the cluster does
    every: Mapping[str, int]  # tier -> period; a tier that is not named never averages

    @property
    def over_d2d(self) -> bool:
        return CLUSTER_TIER in self.every

    def times(self, tier: str, round_index: int | None) -> float:
        """How often a tier averages them: in this round, or per round on average."""
        if tier not in self.every:
            return 0.0
        if round_index is None:
            return 1 / self.every[tier]
        return float((round_index + 1) % self.every[tier] == 0)

    def size_of(self, *nodes: str) -> float:
        """Bytes of what any of these nodes holds."""
        names = frozenset().union(*(self.held[node] for node in nodes))
        return self._whole if len(names) == len(self.sizes) else fsum(self.sizes[name] for name in names)

    @cached_property
    def _whole(self) -> float:
        return fsum(self.sizes.values())


def flows(plan: Plan, payload_bytes: float) -> Iterator[Flow]:
    """payload_bytes: of all modules in fp32; each takes its share of it, or less in a lower precision."""
    together: dict[tuple[Relay | None, tuple[tuple[str, int], ...]], list[Module]] = {}
    for module in plan.modules:
        relay = module.relay if module.over_d2d else None
        together.setdefault((relay, tuple(sorted(module.periods.items()))), []).append(module)
    scale = payload_bytes / (4 * sum(m.size for m in plan.modules))
    for (relay, every), modules in together.items():
        sizes = {m.name: scale * m.wire_bytes for m in modules}
        yield Flow(sizes, _held(plan, sizes), relay, dict(every))


def _held(plan: Plan, names: Iterable[str]) -> dict[str, frozenset[str]]:
    every = frozenset(names)
    if all(device.modules is None for device in plan.devices):
        return {node.id: every for node in plan.nodes}
    return {n.id: frozenset(name for name in every if plan.holds(n.id, name)) for n in plan.nodes}
