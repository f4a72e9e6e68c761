"""The modelled latency and energy of a method: seconds and joules of one round of the devices, on average.

Communication only, no computing. Every tier waits for its slowest child:

    T(aggregator) = max over its children of T(child) + (way up + way back) / period of the aggregator's tier
    T(device)     = 0

where devices that go device to device have, in the place of the maximum over their uplinks, the exchange in
their cluster and the uplink of its head. The way back is priced where the plan has links for it; under the
channel model `published` there is none but inside a cluster. On the published network this gives Table I of
arXiv 2509.03695. Where links, heads or trees change from round to round, the rounds are added up one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import floor, fsum

from node.plan import CLUSTER_TIER, Cluster, Link, LinkKind, Plan, Relay, Role
from node.routing import Pair
from node.wire.overhead import as_carried
from orchestrator.cost.flows import Flow, flows
from orchestrator.cost.phases import by_round, own_rounds
from orchestrator.cost.relaying import Hop, away_s, carried_s, consensus_s, hop, outward, towards_s


@dataclass(frozen=True)
class Rules:
    """How a cost is counted, beyond the links."""

    # The uplink of a cluster's head costs the mean over the cluster, since the publication redraws its heads.
    head_uplink_is_mean: bool
    # A method whose root never averages is priced as if it did so every so many rounds, in latency; the links
    # between aggregators are left out of its energy. None: what never happens costs nothing.
    edge_only_every: int | None
    # Whether payloads on the same device-to-device link wait for each other.
    links_are_shared: bool
    # Whether the way back from an aggregator to its children counts.
    answers: bool
    # Whether the first chunk of a payload that is relayed as it comes takes time on each hop.
    chunks_count: bool = True


PUBLISHED = Rules(
    head_uplink_is_mean=True, edge_only_every=200, links_are_shared=False, chunks_count=False, answers=False
)
AS_BUILT = Rules(
    head_uplink_is_mean=False, edge_only_every=None, links_are_shared=True, chunks_count=True, answers=True
)

Parts = dict[
    str, float
]  # by what it is spent on: the kind of link, with "answer" for the way back from above
ANSWER = "answer"


@dataclass(frozen=True)
class Cost:
    """Per round of the devices."""

    latency_s: float
    energy_j: float
    # "latency_s": along the slowest chain; "energy_j": over all nodes. Each sums to the figure above.
    parts: dict[str, Parts] = field(default_factory=dict)


def price(plan: Plan, payload_bytes: float | None = None, rules: Rules | None = None) -> Cost:
    """payload_bytes: of all modules together in fp32; default: the plan's, or else four bytes per value. What links
    carry beside it, under the plan's links_backend, is priced too.

    rules: default: those of the plan's channel.
    """
    rules = rules or rules_of(plan)
    size = payload_bytes or plan.payload_bytes or 4 * sum(m.size for m in plan.modules)
    found = tuple(flows(plan, size))
    rounds = _Rounds(plan, [_Pricing(part, rules, found, r) for part, r in by_round(as_carried(plan))])
    latency, energy = rounds.latency(), rounds.energy()
    return Cost(_total(latency), _total(energy), {"latency_s": latency, "energy_j": energy})


def rules_of(plan: Plan) -> Rules:
    """Of the publication under its channel, else of what the nodes do."""
    return PUBLISHED if plan.channel == "published" else AS_BUILT


def printed_latency(latency_s: float) -> str:
    """Two decimals, cut and not rounded, as Table I prints its latencies: 9.587 is 9.58."""
    return f"{floor(latency_s * 100 + 1e-6) / 100:.2f}"  # the margin: 12.1 may be 12.099999999999999


def printed_energy(energy_j: float) -> str:
    """Two decimals, rounded, as Table I prints its energies: 14.7489 is 14.75."""
    return f"{energy_j:.2f}"


def _total(parts: Parts) -> float:
    return fsum(parts.values())


def _sum(parts: Iterable[Parts]) -> Parts:
    terms: dict[str, list[float]] = {}
    for part in parts:
        for key, value in part.items():
            if value:
                terms.setdefault(key, []).append(value)
    return {key: fsum(values) for key, values in sorted(terms.items())}


def _longest(parts: Iterable[Parts]) -> Parts:
    return max(parts, key=_total, default={})


def _seconds(link: Link, size_bytes: float) -> float:
    """What nobody holds is not sent."""
    return link.seconds(size_bytes) if size_bytes else 0.0


def _joules(link: Link, size_bytes: float) -> float:
    return link.both_w * _seconds(link, size_bytes)


def _mean(parts: Iterable[Parts], count: int) -> Parts:
    total = _sum(parts)
    return {key: value / count for key, value in total.items()} if count > 1 else total


@dataclass(frozen=True)
class _Rounds:
    """The rounds over which a plan changes, or one that stands for all. Every aggregator waits for its slowest
    child in each round of its own, whatever the others do meanwhile."""

    plan: Plan
    pricings: list[_Pricing]

    def energy(self) -> Parts:
        return _mean((pricing.energy() for pricing in self.pricings), len(self.pricings))

    def latency(self) -> Parts:
        count = len(self.pricings)
        return _mean([self._aggregator(self.plan.root.id, range(count))], count)

    def _aggregator(self, node: str, rounds: range) -> Parts:
        tier = self.plan.by_id[node].tier
        own = [rounds] if len(self.pricings) == 1 else own_rounds(self.plan, tier, rounds)
        return _sum(self._own_round(node, part) for part in own)

    def _own_round(self, node: str, rounds: range) -> Parts:
        # Modules that take the uplink follow those that go device to device: a device sends one at a time.
        exchange = _sum(self.pricings[r].exchange(node) for r in rounds)
        return _sum([exchange, _longest(self._child(child, rounds) for child in self.plan.children(node))])

    def _child(self, child: str, rounds: range) -> Parts:
        below = {} if self.plan.by_id[child].role is Role.DEVICE else self._aggregator(child, rounds)
        return _sum([below, *(self.pricings[r].way(child) for r in rounds)])


@dataclass(frozen=True)
class _Pricing:
    """One round, or one on average."""

    plan: Plan
    rules: Rules
    flows: tuple[Flow, ...]
    round: int | None  # None: on average over the periods

    # -- seconds --------------------------------------------------------------------------------------------

    def exchange(self, aggregator: str) -> Parts:
        """In the cluster below an aggregator, where there is one."""
        cluster = self._clusters.get(aggregator)
        flows = self.flows if cluster is not None else ()
        return _sum(self._cluster_latency(cluster, flow) for flow in flows if cluster and flow.over_d2d)

    def way(self, child: str) -> Parts:
        """Between a child and its parent. A device in a cluster sends here only what does not go device to
        device."""
        parent = str(self.plan.by_id[child].parent)
        tier = self.plan.by_id[parent].tier
        ways: list[Parts] = []
        for flow in self.flows:
            share, size_bytes = self._share(flow, tier), flow.size_of(child)
            if not (flow.over_d2d and self.plan.cluster_of(child)):
                up = self._link(child, parent)
                ways.append({up.kind.value: share * _seconds(up, size_bytes)})
            if self.rules.answers and (back := self.plan.link(parent, child)):
                ways.append({ANSWER: share * _seconds(back, size_bytes)})
        return _sum(ways)

    def _cluster_latency(self, cluster: Cluster, flow: Flow) -> Parts:
        """E rounds are E exchanges, of which E - 1 end with the way back inside the cluster; the head sends
        the last one up, and the answer comes from above."""
        share = self._share(flow, self.plan.by_id[cluster.parent].tier)
        every = flow.times(CLUSTER_TIER, self.round)
        inside_s = self._inside_s(cluster, flow, every, every - share)
        heads, size_bytes = self._head_uplinks(cluster), flow.size_of(*cluster.members)
        head_s = fsum(_seconds(link, size_bytes) for link in heads) / len(heads)
        return {LinkKind.D2D.value: inside_s, LinkKind.UPLINK.value: share * head_s}

    def _inside_s(self, cluster: Cluster, flow: Flow, ups: float, downs: float) -> float:
        """Of so many exchanges and so many ways back; a consensus needs no way back."""
        hops = self._hops(cluster, flow)
        if cluster.gossip is not None:
            return ups * consensus_s(cluster.gossip, hops)
        relay = flow.relay or cluster.relay
        up_s = towards_s(cluster, hops, relay, links_are_shared=self.rules.links_are_shared)
        return ups * up_s + downs * away_s(cluster, hops, relay)

    def _hops(self, cluster: Cluster, flow: Flow) -> dict[Pair, Hop]:
        """Towards the head each member's own modules, or their sum with its subtree's; away from it, and in a
        consensus, whatever anybody beyond a link holds."""
        relay = flow.relay or cluster.relay
        found: dict[Pair, Hop] = {}
        for a, b in _both_ways(cluster):
            link, up = self._link(a, b), cluster.gossip is None and cluster.toward_head.get(a) == b
            beyond = cluster.members if cluster.gossip is not None else cluster.subtree(a if up else b)
            each = up and relay is not Relay.AGGREGATE
            sizes = {node: flow.size_of(node) for node in beyond} if each else {}
            size_bytes = sizes[a] if each else flow.size_of(*beyond)
            found[a, b] = hop(link, size_bytes, sizes, chunks_count=self.rules.chunks_count)
        return found

    def _share(self, flow: Flow, tier: str) -> float:
        """How often a tier averages, per round of the devices or in this one."""
        if tier not in flow.every and self._edge_only and self.rules.edge_only_every:
            return 1 / self.rules.edge_only_every
        return flow.times(tier, self.round)

    # -- joules ---------------------------------------------------------------------------------------------

    def energy(self) -> Parts:
        parts: list[Parts] = []
        for flow in self.flows:
            parts += [
                self._link_energy(link, flow) for link in self.plan.links if link.kind is not LinkKind.D2D
            ]
            if flow.over_d2d:
                parts += [self._cluster_energy(cluster, flow) for cluster in self.plan.clusters]
        return _sum(parts)

    def _link_energy(self, link: Link, flow: Flow) -> Parts:
        """Of a link between a node and its parent."""
        answer = self.plan.by_id[link.dst].parent == link.src
        child, parent = (link.dst, link.src) if answer else (link.src, link.dst)
        device = self.plan.by_id[child].role is Role.DEVICE
        if answer and not self.rules.answers:
            return {}
        if (flow.over_d2d and self.plan.cluster_of(child) and not answer) or (self._edge_only and not device):
            return {}
        share = self._share(flow, self.plan.by_id[parent].tier)
        return {ANSWER if answer else link.kind.value: share * _joules(link, flow.size_of(child))}

    def _cluster_energy(self, cluster: Cluster, flow: Flow) -> Parts:
        share = self._share(flow, self.plan.by_id[cluster.parent].tier)
        every = flow.times(CLUSTER_TIER, self.round)
        hops = self._hops(cluster, flow)
        watts = {pair: self._link(*pair).both_w for pair in hops}
        if cluster.gossip is not None:
            all_j = fsum(watts[pair] * one.seconds for pair, one in hops.items())
            inside_j = every * cluster.gossip.iterations * all_j
        else:
            loads = carried_s(cluster, hops, flow.relay or cluster.relay)
            up_j = fsum(watts[pair] * seconds for pair, seconds in loads.items())
            down_j = fsum(watts[pair] * hops[pair].seconds for pair in outward(cluster))
            inside_j = every * up_j + (every - share) * down_j
        heads, size_bytes = self._head_uplinks(cluster), flow.size_of(*cluster.members)
        head_j = fsum(_joules(link, size_bytes) for link in heads) / len(heads)
        return {LinkKind.D2D.value: inside_j, LinkKind.UPLINK.value: share * head_j}

    # -- the plan -------------------------------------------------------------------------------------------

    @cached_property
    def _clusters(self) -> dict[str, Cluster]:
        return {cluster.parent: cluster for cluster in self.plan.clusters}

    @cached_property
    def _edge_only(self) -> bool:
        return not any(self.plan.root.tier in flow.every for flow in self.flows)

    def _head_uplinks(self, cluster: Cluster) -> list[Link]:
        members = [cluster.head]
        if self.rules.head_uplink_is_mean:
            members += cluster.toward_head
        return [self._link(member, cluster.parent) for member in members]

    def _link(self, src: str, dst: str) -> Link:
        link = self.plan.link(src, dst)
        if link is None:
            raise ValueError(f"the plan has no link {src} -> {dst}")
        return link


def _both_ways(cluster: Cluster) -> Iterable[Pair]:
    for a, b in cluster.gossip.edges if cluster.gossip else cluster.edges:
        yield a, b
        yield b, a
