"""Device-to-device graphs that move: which links a cluster has from which round on, as the scenario lists it or as
its devices walk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from node.plan import Link, LinkKind
from node.randomness import generator
from node.routing import Pair
from orchestrator.plans.links import Links
from orchestrator.plans.scenario import MobilitySpec, MoveRule, Scenario

Graph = dict[Pair, Link]  # directed


@dataclass(frozen=True)
class Moving:
    """The links of one cluster over the rounds."""

    scenario: Scenario
    links: Links
    members: list[str]
    rounds: int

    def from_rounds(self, start: Graph) -> dict[int, Graph]:
        """Round -> the links from then on; round 0 is there, others where something changes."""
        spec = self.scenario.topology.d2d
        found = {0: start}
        if spec.mobility is not None:
            found |= dict(self._walked(start, spec.mobility))
        for i, rule in enumerate(spec.moves):
            self._check(rule, f"topology.d2d.moves[{i}]")
        own = [rule for rule in spec.moves if set(rule.link) <= set(self.members)]
        cuts = sorted({*found, *(rule.round for rule in own if rule.round < self.rounds)})
        return {r: self._with_rules(found[max(k for k in found if k <= r)], own, r) for r in cuts}

    def _with_rules(self, graph: Graph, rules: list[MoveRule], round_index: int) -> Graph:
        graph = dict(graph)
        for rule in rules:
            if rule.round > round_index:
                continue
            for pair in (rule.link, rule.link[::-1]):
                if rule.gone:
                    graph.pop(pair, None)
                else:
                    graph[pair] = self._link(pair, rule.rate_bps)
        return graph

    def _link(self, pair: Pair, rate_bps: float | None) -> Link:
        if rate_bps is None:
            return self.links.needed(*pair, LinkKind.D2D)
        usual = self.links.link(*pair, LinkKind.D2D)
        if usual is None:
            return Link(src=pair[0], dst=pair[1], kind=LinkKind.D2D, rate_bps=rate_bps)
        return usual.model_copy(update={"rate_bps": rate_bps})

    def _walked(self, start: Graph, spec: MobilitySpec) -> Iterator[tuple[int, Graph]]:
        """A walk of independent normal steps (Brownian mobility; Camp, Boleng and Davies, "A survey of mobility
        models", WCMC 2002). The links that the graph had at the start get the rates of their new lengths."""
        network = self.links.network
        places = {m: network.places[m].position_m for m in self.members}
        if any(position is None for position in places.values()):
            why = "needs places, which only kind: drawn has; list `moves` instead"
            raise self.scenario.error("topology.d2d.mobility", why)
        for r in range(spec.every, self.rounds, spec.every):
            for m, position in places.items():
                assert position is not None
                dx, dy = generator(self.scenario.seed, m, r, "walk").normal(0, spec.step_m, 2)
                places[m] = (position[0] + float(dx), position[1] + float(dy))
            devices = tuple(
                replace(d, position_m=places[d.id]) if d.id in places else d for d in network.devices
            )
            moved = replace(self.links, network=replace(network, devices=devices))
            yield (
                r,
                {pair: moved.needed(*pair, LinkKind.D2D) for pair in start if self._near(moved, pair, spec)},
            )

    def _near(self, links: Links, pair: Pair, spec: MobilitySpec) -> bool:
        apart = links.network.distance_m(*pair)
        return spec.range_m is None or (apart is not None and apart <= spec.range_m)

    def _check(self, rule: MoveRule, key: str) -> None:
        parents = {self.links.network.places[m].parent for m in rule.link if m in self.links.network.places}
        known = all(m in self.links.network.places for m in rule.link)
        if not known or len(parents) != 1 or rule.link[0] == rule.link[1]:
            raise self.scenario.error(f"{key}.link", f"{list(rule.link)}: not two devices of one cluster")
