"""Links that change from round to round: what a plan says of them, and device-to-device graphs that move, as the
scenario lists it or as its devices walk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from node.plan import Link, LinkKind, Move
from node.randomness import generator
from node.routing import Pair
from orchestrator.plans.links import Links
from orchestrator.plans.scenario import MobilitySpec, MoveRule, Scenario
from orchestrator.plans.topology import Network

Graph = dict[Pair, Link]  # directed


class Timeline:
    """Links over the rounds, gathered from graphs that share none: as they are at first, and how they move."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self._moves: dict[int, list[Link]] = {}

    def add(self, graphs: Mapping[int, Graph]) -> None:
        """`graphs`: round -> the links from then on. One that is not there in some rounds is marked so."""
        for pair in dict.fromkeys(pair for graph in graphs.values() for pair in graph):
            link = next(graph[pair] for _, graph in sorted(graphs.items()) if pair in graph)
            known: list[tuple[int, Link]] = []
            for r, graph in sorted(graphs.items()):
                link = graph.get(pair) or link.model_copy(update={"gone": True})
                known.append((r, link))
            self.links.append(known[0][1])
            for (_, before), (r, after) in pairwise(known):
                if after != before:
                    self._moves.setdefault(r, []).append(after)

    @property
    def moves(self) -> tuple[Move, ...]:
        return tuple(Move(first_round=r, links=tuple(of)) for r, of in sorted(self._moves.items()))


@dataclass(frozen=True)
class Moving:
    """The links of one cluster over the rounds."""

    scenario: Scenario
    links: Links
    members: list[str]
    rounds: int

    def from_rounds(self, pairs: Iterable[Pair]) -> dict[int, Graph]:
        """Round -> the links from then on, of the graph that the cluster has at the start; round 0 is there,
        others where something may change."""
        spec = self.scenario.topology.d2d
        for i, rule in enumerate(spec.moves):
            self._check(rule, f"topology.d2d.moves[{i}]")
        own = [rule for rule in spec.moves if set(rule.link) <= set(self.members)]
        networks = {0: self.links.network}
        if spec.mobility is not None:
            networks |= dict(self._walked(spec.mobility))
        by_rules = {rule.round for rule in own if rule.round < self.rounds}
        cuts = sorted({*networks, *self.links.cuts(self.rounds), *by_rules})
        pairs = list(pairs)
        return {r: self._graph(networks[max(k for k in networks if k <= r)], pairs, own, r) for r in cuts}

    def _graph(self, network: Network, pairs: list[Pair], rules: list[MoveRule], round_index: int) -> Graph:
        links = replace(self.links.at(round_index), network=network)
        graph = {pair: links.needed(*pair, LinkKind.D2D) for pair in pairs if self._near(network, pair)}
        for rule in rules:
            if rule.round > round_index:
                continue
            for pair in (rule.link, rule.link[::-1]):
                if rule.gone:
                    graph.pop(pair, None)
                else:
                    graph[pair] = _link(links, pair, rule.rate_bps)
        return graph

    def _walked(self, spec: MobilitySpec) -> Iterator[tuple[int, Network]]:
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
            yield r, replace(network, devices=devices)

    def _near(self, network: Network, pair: Pair) -> bool:
        spec = self.scenario.topology.d2d.mobility
        if spec is None or spec.range_m is None or network is self.links.network:
            return True
        apart = network.distance_m(*pair)
        return apart is not None and apart <= spec.range_m

    def _check(self, rule: MoveRule, key: str) -> None:
        parents = {self.links.network.places[m].parent for m in rule.link if m in self.links.network.places}
        known = all(m in self.links.network.places for m in rule.link)
        if not known or len(parents) != 1 or rule.link[0] == rule.link[1]:
            raise self.scenario.error(f"{key}.link", f"{list(rule.link)}: not two devices of one cluster")


def _link(links: Links, pair: Pair, rate_bps: float | None) -> Link:
    """As the channel has it, at a rate of its own where one is given."""
    if rate_bps is None:
        return links.needed(*pair, LinkKind.D2D)
    usual = links.link(*pair, LinkKind.D2D)
    if usual is None:
        return Link(src=pair[0], dst=pair[1], kind=LinkKind.D2D, rate_bps=rate_bps)
    return usual.model_copy(update={"rate_bps": rate_bps})
