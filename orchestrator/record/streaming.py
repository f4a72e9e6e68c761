"""How long an exchange took whose payloads went on from relay to relay as they came, many transfers at once.

Processes that share cores do not begin together: who has trained early sends early and waits for the others. An
exchange is therefore read in two ways, and the longer one counts:

    links   the time for which each link was sending, put together as for devices that begin at once
            (`cost.relaying`): a link is busy with all that it carries, a hop adds a chunk
    spans   from the first byte of a payload, or from the moment at which all on its way had trained where that
            was later, to its last byte at the end of its way: a relay that holds payloads back shows here
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.plan import Cluster, Plan, Relay
from node.routing import Pair
from node.wire.pacing import CUT_BYTES, chunk_bytes
from orchestrator.cost.relaying import Hop, Hops, away_s, outward, streamed_s
from orchestrator.record.events import Transfer


@dataclass(frozen=True)
class Streaming:
    """One direction of one exchange."""

    plan: Plan
    cluster: Cluster  # as it was in this round
    round: int
    sent: Sequence[Transfer]
    trained_at: Callable[[str, float], float]  # node, before when -> Unix seconds
    replayed: bool = False  # each transfer at its modelled seconds, and not by the clock

    def towards_s(self, relay: Relay) -> float:
        """Until the head has everything."""
        by_links = streamed_s(self.cluster, self._loads(list(self.cluster.toward_head.items())), relay)
        if self.replayed:
            return by_links
        ways: dict[str, list[Transfer]] = defaultdict(
            list
        )  # what goes together: by origin, or all as one sum
        for t in self.sent:
            for origin in t.origins if relay is Relay.CUT_THROUGH else ("",):
                ways[origin].append(t)
        return max([by_links, *map(self._span_s, ways.values())])

    def away_s(self) -> float:
        """Until all members have what the head sends, who were waiting for it."""
        by_links = away_s(self.cluster, self._loads(outward(self.cluster)), Relay.CUT_THROUGH)
        if self.replayed or not self.sent:
            return by_links
        return max(by_links, max(map(_end, self.sent)) - min(t.t for t in self.sent))

    def _span_s(self, way: Sequence[Transfer]) -> float:
        first: dict[str, float] = {}
        for t in way:
            first[t.src] = min(t.t, first.get(t.src, t.t))
        start = max(min(first.values()), *(self.trained_at(node, t) for node, t in first.items()))
        return max(map(_end, way)) - start

    def _loads(self, pairs: Sequence[Pair]) -> Hops:
        over: dict[Pair, list[Transfer]] = defaultdict(list)
        for t in self.sent:
            over[t.src, t.dst].append(t)
        return {pair: self._load(pair, over[pair]) for pair in pairs}

    def _load(self, pair: Pair, carried: Sequence[Transfer]) -> Hop:
        """The first chunk takes its share of the bytes, after the delay."""
        sent_s = sum(t.modelled_s or 0.0 for t in carried) if self.replayed else busy_s(carried)
        link, size = self.plan.link_at(*pair, self.round), sum(t.bytes for t in carried)
        if link is None or not size:
            return Hop(sent_s, sent_s)
        delay_s = min(link.delay_s, sent_s)
        share = min(1.0, chunk_bytes(link, CUT_BYTES) / size)
        return Hop(sent_s, delay_s + share * (sent_s - delay_s))


def busy_s(carried: Sequence[Transfer]) -> float:
    """For which a link was sending. Where a kernel shares it among transfers, these do not know that they wait."""
    return min(_union_s(carried), sum(max(0.0, t.seconds - t.waited_s) for t in carried))


def _union_s(transfers: Sequence[Transfer]) -> float:
    total, until = 0.0, float("-inf")
    for t in sorted(transfers, key=lambda t: t.t):
        total += max(0.0, _end(t) - max(t.t, until))
        until = max(until, _end(t))
    return total


def _end(t: Transfer) -> float:
    return t.t + t.seconds
