"""Who is where and below whom: the published random draw, or an explicit tree. One set of nodes for all methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from math import cos, dist, pi, prod, sin, sqrt
from typing import Any

import numpy as np

from node.plan import CLUSTER_TIER
from node.routing import Pair
from orchestrator.plans.scenario import DrawnTopology, Scenario, TreeTopology

DEVICE_TIER = "device"
_MAX_NODES = 65_000  # each has a port of its own
_MAX_TRIES = 100_000  # of a draw that is repeated until it fits

Point = tuple[float, float]


@dataclass(frozen=True)
class Place:
    """A node before a method gives it its part."""

    id: str
    tier: str
    parent: str | None  # in the whole tree; a method may leave tiers out
    position_m: Point | None = None


@dataclass(frozen=True)
class Network:
    tiers: tuple[str, ...]  # of the aggregators, from the root down
    aggregators: tuple[Place, ...]  # the root first, then tier by tier
    devices: tuple[Place, ...]  # in the order of their ids, which is the order of the data shards
    # Power gain of the fading of each radio link, device -> its aggregator and device -> device.
    fading: Mapping[Pair, float] = field(default_factory=dict)

    def members(self, aggregator: str) -> list[str]:
        """The devices right below it."""
        return self._members.get(aggregator, [])

    @cached_property
    def _members(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for device in self.devices:
            found.setdefault(str(device.parent), []).append(device.id)
        return found

    @cached_property
    def places(self) -> dict[str, Place]:
        return {p.id: p for p in (*self.aggregators, *self.devices)}

    def distance_m(self, a: str, b: str) -> float | None:
        """None where one of the two has no position."""
        here, there = self.places[a].position_m, self.places[b].position_m
        return None if here is None or there is None else dist(here, there)


def build_network(scenario: Scenario) -> Network:
    """Raises ScenarioError where the topology cannot be built."""
    topology = scenario.topology
    if isinstance(topology, DrawnTopology):
        try:
            return _drawn(topology, scenario.seed if topology.seed is None else topology.seed)
        except ValueError as error:
            raise scenario.error("topology", str(error)) from error
    return _tree(scenario, topology)


def numbered(prefix: str, count: int, least_digits: int = 1) -> list[str]:
    """Names whose alphabetical order is their numerical order."""
    digits = max(least_digits, len(str(count - 1)))
    return [f"{prefix}-{i:0{digits}d}" for i in range(count)]


def _drawn(topology: DrawnTopology, seed: int) -> Network:
    """The draw of the released code of arXiv 2509.03695: two generators of the same seed, P for places, F for
    fading. The order of the draws is part of the reproduction."""
    places, fadings = np.random.default_rng(seed), np.random.default_rng(seed)
    if topology.edge_servers * (1 + topology.devices_per_cluster) > _MAX_NODES:
        raise ValueError(f"too many nodes; at most {_MAX_NODES}")
    edges = numbered("edge", topology.edge_servers)
    devices = numbered(DEVICE_TIER, topology.edge_servers * topology.devices_per_cluster, 2)
    servers = _servers(topology, places)
    clusters = [_cluster(topology, places, server) for server in servers]

    sites: list[Place] = []
    for k, cluster in enumerate(clusters):
        for i, position in enumerate(cluster):
            sites.append(Place(devices[k * len(cluster) + i], DEVICE_TIER, edges[k], position))
    fading = {(site.id, str(site.parent)): _fading(fadings) for site in sites}
    n = topology.devices_per_cluster
    for _ in range(topology.edge_servers * (n * (n - 1) // 2)):
        _fading(fadings)  # drawn by the released code for unordered pairs, and not used
    for k in range(topology.edge_servers):
        for a, b in permutations(sites[k * n : (k + 1) * n], 2):
            fading[a.id, b.id] = _fading(fadings)
    aggregators = [Place(e, "edge", "cloud", s) for e, s in zip(edges, servers, strict=True)]
    return Network(("cloud", "edge"), (Place("cloud", "cloud", None), *aggregators), tuple(sites), fading)


def _fading(generator: np.random.Generator) -> float:
    """Rayleigh: h0^2 + h1^2 of two standard normal draws. Its mean is 2, as in the released code, not 1."""
    h0, h1 = generator.standard_normal(2)
    return float(h0 * h0 + h1 * h1)


def _servers(topology: DrawnTopology, places: np.random.Generator) -> list[Point]:
    kept: list[Point] = []
    for _ in range(_MAX_TRIES):
        x, y = places.uniform(0, topology.area_m, size=2)
        if all(dist((x, y), other) >= topology.min_separation_m for other in kept):
            kept.append((float(x), float(y)))
        if len(kept) == topology.edge_servers:
            return kept
    raise ValueError(
        f"no room for {topology.edge_servers} edge servers {topology.min_separation_m:g} m apart in a square of "
        f"{topology.area_m:g} m; lower min_separation_m or edge_servers"
    )


def _cluster(topology: DrawnTopology, places: np.random.Generator, server: Point) -> list[Point]:
    centre = _around(server, topology.cluster_radius_m, topology.area_m, places)
    return [
        _around(centre, topology.device_radius_m, topology.area_m, places)
        for _ in range(topology.devices_per_cluster)
    ]


def _around(centre: Point, radius_m: float, area_m: float, places: np.random.Generator) -> Point:
    """A point drawn evenly from the disc around `centre`, anew until it is inside the square."""
    for _ in range(_MAX_TRIES):
        radius, angle = sqrt(places.random()) * radius_m, places.random() * 2 * pi
        x, y = centre[0] + radius * cos(angle), centre[1] + radius * sin(angle)
        if 0 <= x <= area_m and 0 <= y <= area_m:
            return x, y
    raise ValueError(f"a disc of radius {radius_m:g} m hardly fits area_m {area_m:g}; lower the radius")


def _tree(scenario: Scenario, topology: TreeTopology) -> Network:
    tiers = topology.tiers
    for i, tier in enumerate(tiers):
        if tier in tiers[:i] or tier in (DEVICE_TIER, CLUSTER_TIER):
            raise scenario.error(
                f"topology.tiers[{i}]", f"'{tier}' is taken; name each tier once, devices apart"
            )
    if (topology.fanout is None) == (topology.tree is None):
        raise scenario.error("topology", "give either fanout (numbers per tier) or tree (children by name)")
    if topology.fanout is not None:
        return _regular(scenario, tiers, topology.fanout)
    return _Named(scenario, tiers).network(topology.tree or {})


def _regular(scenario: Scenario, tiers: tuple[str, ...], fanout: tuple[int, ...]) -> Network:
    """The same number of children at every node of a tier."""
    if len(fanout) != len(tiers):
        why = f"needs {len(tiers)} numbers, one per tier of {list(tiers)} (the last counts devices)"
        raise scenario.error("topology.fanout", f"{why}, not {len(fanout)}")
    if prod(fanout) > _MAX_NODES:
        raise scenario.error("topology.fanout", f"{prod(fanout)} devices are too many; at most {_MAX_NODES}")
    aggregators = [Place(tiers[0], tiers[0], None)]
    above = [tiers[0]]
    for tier, count in zip(tiers[1:], fanout, strict=False):
        names = numbered(tier, len(above) * count)
        aggregators += [Place(name, tier, above[i // count]) for i, name in enumerate(names)]
        above = names
    names = numbered(DEVICE_TIER, len(above) * fanout[-1], 2)
    devices = [Place(name, DEVICE_TIER, above[i // fanout[-1]]) for i, name in enumerate(names)]
    return Network(tiers, tuple(aggregators), tuple(devices))


class _Named:
    """An explicit tree: `{north: {edge-a: 4, edge-b: [phone, watch]}, south: {edge-c: 2}}` below the root."""

    def __init__(self, scenario: Scenario, tiers: tuple[str, ...]) -> None:
        self.scenario, self.tiers = scenario, tiers
        self.aggregators = [Place(tiers[0], tiers[0], None)]
        self.devices: list[tuple[str | None, str, str]] = []  # name or None, parent, key path

    def network(self, tree: Mapping[str, Any]) -> Network:
        self._below(tree, self.tiers[0], 1, "topology.tree")
        unnamed = iter(numbered(DEVICE_TIER, max(1, len(self.devices)), 2))
        places = [Place(name or next(unnamed), DEVICE_TIER, up) for name, up, _ in self.devices]
        by_tier = sorted(self.aggregators, key=lambda p: self.tiers.index(p.tier))
        taken: set[str] = set()
        for place in (*by_tier, *places):
            if place.id in taken or place.id in (DEVICE_TIER, *self.tiers[1:]):
                raise self.scenario.error(
                    "topology.tree", f"the name '{place.id}' is taken; rename one of the two"
                )
            taken.add(place.id)
        # Devices in ascending order of id, whatever the order of writing: shards are dealt in this order.
        return Network(self.tiers, tuple(by_tier), tuple(sorted(places, key=lambda p: p.id)))

    def _below(self, value: Any, parent: str, depth: int, key: str) -> None:
        if depth == len(self.tiers):
            self._devices(value, parent, key)
            return
        tier = self.tiers[depth]
        if not isinstance(value, Mapping) or not value:
            raise self.scenario.error(
                key, f"must name the nodes of tier '{tier}' below '{parent}', not {value!r}"
            )
        for name, below in value.items():
            self.aggregators.append(Place(self._name(name, f"{key}.{name}"), tier, parent))
            self._below(below, name, depth + 1, f"{key}.{name}")

    def _devices(self, value: Any, parent: str, key: str) -> None:
        names: list[Any] | None = None
        if isinstance(value, list):
            names = value
        elif isinstance(value, int) and not isinstance(value, bool):
            if value + len(self.devices) > _MAX_NODES:
                raise self.scenario.error(key, f"{value} devices are too many; at most {_MAX_NODES} in all")
            names = [None] * value
        if not names:
            why = "must be the number of its devices, 1 or more, or a list of their names"
            raise self.scenario.error(key, f"{why}, not {value!r}")
        for name in names:
            self.devices.append((None if name is None else self._name(name, key), parent, key))

    def _name(self, name: Any, key: str) -> str:
        check: Callable[[str], bool] = lambda c: c.isascii() and (c.isalnum() or c in "._-")  # noqa: E731
        if isinstance(name, str) and name and all(map(check, name)) and name[0].isalnum():
            return name
        raise self.scenario.error(
            key, f"'{name}' is no name: use letters, digits, dots, dashes and underscores"
        )
