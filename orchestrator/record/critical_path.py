"""How long a round takes when every node has a machine of its own: the longest chain of work and transfers.

Many processes share few cores here, so the raw wall clock says more about the machine than about the method.
The critical path adds up what was measured, in the structure of the modelled latency (`cost.py`):

    aggregator over some rounds = sum over its own rounds of
                                  max over its children of (child's time + its transfers up + the answer)
    device                      = CPU time of its training
    cluster over D2D links      = sum over its own rounds of (longest chain of hops to the head, each from the
                                  training of its origin; then the longest chain back, where the parent does
                                  not take part in that round), then the head's transfers to the parent;
                                  where relays send on what comes as it comes, all hops at once: `streaming.py`

A node that sent nothing, missing or failed, adds nothing: the time spent waiting for it is in the wall clock.
The answer, from an aggregator back to its children, counts where the model prices it; otherwise it is in
`install_s`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from math import lcm

from node.plan import CLUSTER_TIER, Cluster, LinkKind, Plan, Relay, Role
from node.roles.survivors import Survivors
from orchestrator.cost.phases import own_rounds
from orchestrator.record.events import Events, Phase, Transfer
from orchestrator.record.streaming import Streaming

TRAIN = "train"
ANSWER = "answer"  # the way back from an aggregator to its children


@dataclass(frozen=True)
class Span:
    """Seconds along one chain, by what took them: `train`, the kind of a link, or `answer`."""

    parts: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())

    def __add__(self, other: Span) -> Span:
        keys = {**self.parts, **other.parts}
        return Span({k: self.parts.get(k, 0.0) + other.parts.get(k, 0.0) for k in keys})


def chain(spans: Iterable[Span]) -> Span:
    """One after the other."""
    return sum(spans, Span())


def longest(spans: Iterable[Span]) -> Span:
    """At the same time."""
    return max(spans, key=lambda s: s.seconds, default=Span())


def period(plan: Plan) -> int:
    """Rounds after which the circulation of all modules repeats, or is decided anew."""
    if plan.policy is not None:
        return plan.policy.longest
    return lcm(*(p for m in plan.modules for p in m.periods.values()), 1)


def is_priced(plan: Plan, transfer: Transfer) -> bool:
    """Whether the modelled latency and energy cover it: every update; the answer over a link of the plan,
    but not in the published model; and the way back inside a cluster in rounds in which the aggregate comes
    from its head and not from above."""
    if transfer.round is None or transfer.purpose == "snapshot":
        return False
    if transfer.purpose == "update":
        return True
    if transfer.link != LinkKind.D2D:
        return plan.channel != "published" and plan.link(transfer.src, transfer.dst) is not None
    source = plan.by_id.get(transfer.src)
    if source is None or source.parent is None:
        return False
    above = plan.by_id[source.parent].tier
    modules = [plan.module(name) for name in transfer.modules]
    return not modules or any(m is None or not m.due(above, transfer.round) for m in modules)


def part_of(transfer: Transfer) -> str:
    """What a priced transfer is accounted under, in the words of `cost.py`."""
    answers = transfer.purpose == "aggregate" and transfer.link != LinkKind.D2D
    return ANSWER if answers else transfer.link


def _any(transfer: Transfer) -> bool:
    return True


def _is_of(transfer: Transfer, names: set[str]) -> bool:
    return not transfer.modules or not names.isdisjoint(transfer.modules)


class CriticalPath:
    """The longest chain through what happened, over any rounds.

    `with_training=False` leaves the transfers only; `replayed` takes each at its modelled seconds.
    """

    def __init__(self, plan: Plan, events: Events, *, with_training: bool, replayed: bool = False) -> None:
        self._plan = plan
        self._replayed = replayed
        self._train_s: dict[tuple[str, int], float] = defaultdict(float)
        self._computed: dict[tuple[str, int], list[Phase]] = defaultdict(list)
        for p in events.phases:
            if p.round is not None:
                self._computed[p.node, p.round].append(p)
                if with_training and p.phase == TRAIN:
                    self._train_s[p.node, p.round] += p.cpu_s
        self._priced: dict[tuple[str, str, int], list[Transfer]] = defaultdict(list)
        for t in events.transfers:
            if t.round is not None and is_priced(plan, t):
                self._priced[t.src, t.dst, t.round].append(t)
        self._over_d2d = frozenset(m.name for m in plan.modules if m.over_d2d)
        self._regrouped = sorted(events.regrouped, key=lambda e: e.attempt)

    def over(self, rounds: range) -> Span:
        return self._aggregator(self._plan.root.id, rounds)

    def _aggregator(self, node: str, rounds: range) -> Span:
        parts = own_rounds(self._plan, self._plan.by_id[node].tier, rounds)
        return chain(longest(self._arrivals(node, part)) for part in parts)

    def _arrivals(self, node: str, rounds: range) -> Iterator[Span]:
        for cluster in self._plan.clusters:
            if cluster.parent == node:
                yield self._cluster(cluster, rounds)
        for child in self._plan.children(node):
            if self._plan.by_id[child].role is not Role.DEVICE:
                yield self._aggregator(child, rounds) + self._up_and_answer(child, node, rounds)
            elif self._plan.cluster_of(child) is None:
                yield self._training(child, rounds) + self._up_and_answer(child, node, rounds)

    def _up_and_answer(self, child: str, parent: str, rounds: range) -> Span:
        return self._sent(child, parent, rounds) + self._sent(parent, child, rounds)

    def _cluster(self, cluster: Cluster, rounds: range) -> Span:
        """A device sends one thing at a time: what takes the uplink follows what goes device to device."""
        own = own_rounds(self._plan, CLUSTER_TIER, rounds)
        inside = chain(self._cluster_round(self._at(cluster, r[0]), r) for r in own)
        head = self._at(cluster, rounds[-1]).head if rounds else cluster.head  # heads may take turns
        gathered = self._sent(head, cluster.parent, rounds, self._is_gathered)
        direct = (
            self._sent(member, cluster.parent, rounds, self._is_direct if member == head else _any)
            + self._sent(cluster.parent, member, rounds)
            for member in cluster.members
        )
        return inside + gathered + longest(direct)

    def _at(self, cluster: Cluster, r: int) -> Cluster:
        """As it was in this round, after what it had lost."""
        survivors = Survivors(self._plan, cluster)
        for e in self._regrouped:
            if e.node == cluster.parent and e.round <= r:
                survivors.lose(e.attempt, e.lost, e.broken)
        return survivors.at(r)

    def _is_gathered(self, transfer: Transfer) -> bool:
        return not self._over_d2d.isdisjoint(transfer.modules)

    def _is_direct(self, transfer: Transfer) -> bool:
        return not self._is_gathered(transfer)

    def _cluster_round(self, cluster: Cluster, rounds: range) -> Span:
        """Modules that are relayed in different ways follow each other; the first follow the training."""
        modules = [m for m in self._plan.modules if m.over_d2d]
        spans: list[Span] = []
        for relay in dict.fromkeys(map(cluster.relays, modules)):
            names = {m.name for m in modules if cluster.relays(m) is relay}
            whole = relay is Relay.STORE_AND_FORWARD and cluster.gossip is None
            way = self._hop_by_hop if whole else self._as_they_come
            spans.append(way(cluster, rounds, names, not spans))
        return chain(spans)

    def _hop_by_hop(self, cluster: Cluster, rounds: range, names: set[str], trained: bool) -> Span:
        """Each payload makes its own way, as published: paths share links as if they did not."""
        ups = (self._chain_up(cluster, m, rounds, names, trained) for m in cluster.subtree(cluster.head))
        return longest(ups) + self._tree_down(cluster, cluster.head, rounds, names)

    def _chain_up(self, cluster: Cluster, origin: str, rounds: range, names: set[str], trained: bool) -> Span:
        span, node = self._training(origin, rounds) if trained else Span(), origin
        while node != cluster.head:
            near = cluster.toward_head[node]
            span += self._sent(
                node, near, rounds, lambda t: _is_of(t, names) and (not t.origins or origin in t.origins)
            )
            node = near
        return span

    def _tree_down(self, cluster: Cluster, node: str, rounds: range, names: set[str]) -> Span:
        return longest(
            self._sent(node, far, rounds, lambda t: _is_of(t, names))
            + self._tree_down(cluster, far, rounds, names)
            for far in cluster.children(node)
        )

    def _as_they_come(self, cluster: Cluster, rounds: range, names: set[str], trained: bool) -> Span:
        """All members begin once the last of them has trained."""
        members = cluster.subtree(cluster.head)
        start = longest(self._training(m, rounds) for m in members) if trained else Span()
        relay = next(cluster.relays(m) for m in self._plan.modules if m.name in names)
        return start + Span(
            {LinkKind.D2D.value: sum(self._exchange_s(cluster, r, names, relay) for r in rounds)}
        )

    def _exchange_s(self, cluster: Cluster, r: int, names: set[str], relay: Relay) -> float:
        pairs = ((a, b) for a in cluster.members for b in cluster.members if a != b)
        sent = [t for pair in pairs for t in self._priced.get((*pair, r), ()) if _is_of(t, names)]
        up, down = ([t for t in sent if t.purpose == purpose] for purpose in ("update", "aggregate"))
        if cluster.gossip is not None:
            return self._iterations_s(up)
        ways = (
            Streaming(self._plan, cluster, r, some, self._trained_at(r), self._replayed)
            for some in (up, down)
        )
        upward, back = ways
        return upward.towards_s(relay) + back.away_s()

    def _iterations_s(self, sent: Sequence[Transfer]) -> float:
        """Of a consensus, one after the other: all exchange at once, and the slowest transfer ends one."""
        over: dict[tuple[str, str], list[Transfer]] = defaultdict(list)
        for t in sorted(sent, key=lambda t: t.t):
            over[t.src, t.dst].append(t)
        steps = zip_longest(*over.values())
        return sum(max(self._seconds_of(t) for t in step if t is not None) for step in steps)

    def _trained_at(self, r: int) -> Callable[[str, float], float]:
        """The end of what a node had begun to compute before some moment of a round."""

        def found(node: str, before: float) -> float:
            ends = (p.t + p.wall_s for p in self._computed.get((node, r), ()) if p.t < before)
            return max(ends, default=float("-inf"))

        return found

    def _seconds_of(self, transfer: Transfer) -> float:
        return (transfer.modelled_s or 0.0) if self._replayed else transfer.seconds

    def _training(self, node: str, rounds: range) -> Span:
        seconds = sum(self._train_s.get((node, r), 0.0) for r in rounds)
        return Span({TRAIN: seconds}) if seconds else Span()

    def _sent(self, src: str, dst: str, rounds: range, wanted: Callable[[Transfer], bool] = _any) -> Span:
        span = Span()
        for r in rounds:
            for t in self._priced.get((src, dst, r), ()):
                if wanted(t):
                    span += Span({part_of(t): self._seconds_of(t)})
        return span
