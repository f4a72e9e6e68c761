"""What the parent of a cluster does when one of its devices, or a link between two, is lost in the middle of a
round: it names another head or other ways, and the devices begin their exchange anew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from hffm.v1 import membership_pb2 as pb

from node.log import NodeLog
from node.plan import Cluster, LinkKind, Plan
from node.routing import Pair, orient, shortest_times, tree_towards
from node.wire.family import Family

_BEATS_OF_GRACE = 2.0  # heartbeats that a child whose session broke has to open a new one


class Regrouping:
    """The cluster below one aggregator as it stands now. Nothing happens while no round is open."""

    def __init__(self, plan: Plan, planned: Cluster, family: Family, log: NodeLog) -> None:
        self._plan = plan
        self._planned = planned
        self._family = family
        self._log = log
        self._regrouped: Cluster | None = None
        self.attempt = 0
        self._round: int | None = None
        self._lost: set[str] = set()
        self._broken: set[frozenset[str]] = set()  # links that a device could not use
        self._goodbyes: dict[str, asyncio.Task[None]] = {}

    def at(self, round_index: int) -> Cluster:
        return self._regrouped or self._planned.at(round_index)

    def begin(self, round_index: int) -> None:
        self._round = round_index

    def end(self) -> None:
        self._round = None

    # -- what goes wrong ----------------------------------------------------------------------------------

    def hear_session_ended(self, child: str) -> None:
        """A device that opens no new session within the grace is taken for lost."""
        if self._round is not None and child in self._planned.members and child not in self._lost:
            self._goodbyes[child] = asyncio.ensure_future(self._wait_for(child))

    async def _wait_for(self, child: str) -> None:
        limits = self._plan.limits
        deadline = time.monotonic() + min(_BEATS_OF_GRACE * limits.heartbeat_s + 0.5, limits.lease_s)
        while time.monotonic() < deadline:
            if self._family.children[child].connected:
                return
            await asyncio.sleep(min(0.1, limits.heartbeat_s))
        self._lost.add(child)
        if self._round is not None:
            self._regroup(f"'{child}' is lost", around=child)

    def hear_trouble(self, child: str, trouble: pb.Trouble) -> None:
        link = frozenset((child, trouble.peer))
        if trouble.attempt < self.attempt or self._round is None or link in self._broken:
            return  # about an attempt that is over
        if trouble.peer not in self._planned.members or trouble.peer == child:
            return
        self._broken.add(link)
        self._regroup(f"'{child}' does not reach '{trouble.peer}': {trouble.message}", around=trouble.peer)

    # -- what is done about it ----------------------------------------------------------------------------

    def _regroup(self, reason: str, around: str) -> None:
        assert self._round is not None
        before = self.at(self._round)
        seconds = self._seconds()
        group = self._largest_group(before, seconds)
        head = before.head if before.head in group else _centre(group, seconds)
        edges = [(a, b) for a, b in seconds if a in group and b in group]
        tree = tuple(tree_towards(edges, seconds, head)) if edges else ()
        self._regrouped = before.turned(head, tree)
        self.attempt += 1
        carried = before.head == around or bool(before.children(around))
        told = pb.Regroup(attempt=self.attempt, head=head, again=carried)
        told.edges.extend(name for pair in tree for name in pair)
        self._family.tell_all(pb.ParentMessage(regroup=told))
        alone = [m for m in self._planned.members if m not in group and m not in self._lost]
        self._log.emit(
            "regrouped",
            round=self._round,
            attempt=self.attempt,
            head=head,
            edges=[list(pair) for pair in tree],
            uplink=alone,
            reason=reason,
        )

    def _seconds(self) -> dict[Pair, float]:
        """Of the links that are left, for a payload of all modules."""
        size = self._plan.padded_bytes([m.name for m in self._plan.modules])
        left = set(self._planned.members) - self._lost
        now = (self._plan.link_at(k.src, k.dst, self._round or 0) for k in self._plan.links)
        return {
            (link.src, link.dst): link.seconds(size)
            for link in now
            if link is not None
            and link.kind is LinkKind.D2D
            and {link.src, link.dst} <= left
            and frozenset((link.src, link.dst)) not in self._broken
        }

    def _largest_group(self, before: Cluster, seconds: dict[Pair, float]) -> list[str]:
        """Devices that still reach each other: as many as possible, the head's own among equals."""
        left = sorted(set(self._planned.members) - self._lost)
        groups = [sorted({m, *orient(seconds, m)}) for m in left]
        return max(groups, key=lambda g: (len(g), before.head in g), default=[before.head])


def _centre(group: Iterable[str], seconds: dict[Pair, float]) -> str:
    """Who is reached by all in the shortest time; the first by name among equals."""
    reverse = {(b, a): s for (a, b), s in seconds.items()}

    def farthest(node: str) -> float:
        return max(shortest_times(reverse, node)[0].values())

    return min(sorted(group), key=farthest)
