"""What the parent of a cluster does when one of its devices, or a link between two, is lost: it tells all of them,
and they begin an exchange in progress anew without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

from hffm.v1 import membership_pb2 as pb
from hffm.v1.payload_pb2 import PURPOSE_UPDATE

from node.log import NodeLog
from node.plan import CLUSTER_TIER, Circulation, Cluster, Plan
from node.roles.held import Held
from node.roles.survivors import Survivors
from node.wire.family import Family
from node.wire.landing import Key

_BEATS_OF_GRACE = 2.0  # heartbeats that a child whose session broke has to open a new one


class Parent(Protocol):
    """What the aggregator above the cluster has."""

    @property
    def held(self) -> dict[str, Held]: ...

    @property
    def circulation(self) -> Circulation: ...

    def taken(self, key: Key) -> bool:
        """Whether it has this update."""
        ...

    def has_from(self, module: str, devices: Iterable[str]) -> bool:
        """Whether the training of one of these is in the sum of the round that is open."""
        ...


class Regrouping:
    """The cluster below one aggregator as it stands now. While no round is open, losses are only noted."""

    def __init__(self, plan: Plan, planned: Cluster, family: Family, log: NodeLog, parent: Parent) -> None:
        self._plan = plan
        self._planned = planned
        self._family = family
        self._log = log
        self._parent = parent
        self._survivors = Survivors(plan, planned)
        self._rounds = range(0)  # those that the devices run now
        self._missed: set[str] = set()  # lost while no round was open
        self._told_before = 0  # the last attempt that an earlier life of the parent has told the devices
        self._goodbyes: dict[str, asyncio.Task[None]] = {}
        self.heads: set[str] = set()  # all that have collected in these rounds

    @property
    def attempt(self) -> int:
        return self._survivors.attempt

    def at(self, round_index: int) -> Cluster:
        return self._survivors.at(round_index)

    def begin(self, first: int, count: int) -> None:
        """Who was lost between rounds is missed from now on; who has come back takes part again."""
        self._rounds = range(first, first + count)
        gone = {c for c in self._planned.members if self._is_away(c)}
        self._missed.clear()
        named = ", ".join(f"'{child}'" for child in sorted(gone ^ self._survivors.lost))
        if self._told_before > self.attempt:
            reason = f"'{self._planned.parent}' is in a new life"
            self._regroup(first, gone, self._survivors.broken, reason, again=True)
        elif named:
            reason = f"{named} lost or back between rounds"
            self._regroup(first, gone, self._survivors.broken, reason, again=True)
        self.heads = {self.at(r).head for r in self._rounds}

    def end(self) -> None:
        self._rounds = range(0)

    def has_delivered(self, round_index: int) -> bool:
        """Whether a head, or one before it, has sent every module that somebody in the cluster trains.

        One that was cut off from the others, and reports for itself alone, has not sent theirs.
        """
        members = self.at(round_index).members
        samples = [self._family.children[c].samples for c in members]
        tier, circulation = self._plan.node(self._planned.parent).tier, self._parent.circulation
        return all(
            any(self._parent.taken(Key(round_index, m.name, head, PURPOSE_UPDATE)) for head in self.heads)
            and self._parent.has_from(m.name, members)
            for m in self._plan.modules
            if circulation.over_d2d(m, round_index) and circulation.due(m, tier, round_index)
            if m.name in self._parent.held and any(of.get(m.name) for of in samples)
        )

    def _has_all(self, round_index: int) -> bool:
        """Whether nobody waits any more for what a round's exchange in the cluster was for."""
        tier, circulation = self._plan.node(self._planned.parent).tier, self._parent.circulation
        near = [m for m in self._plan.modules if circulation.due(m, CLUSTER_TIER, round_index)]
        return all(circulation.due(m, tier, round_index) for m in near) and self.has_delivered(round_index)

    def _is_away(self, child: str) -> bool:
        """A session that has just broken may be opened anew; one that was given up, or never was, is missed."""
        known = self._family.children[child]
        missed = bool(known.gone) or not known.connection or child in self._survivors.lost | self._missed
        return missed and not (known.connected and not known.gone)

    # -- what goes wrong ----------------------------------------------------------------------------------

    def hear_session_ended(self, child: str) -> None:
        """A device that opens no new session within the grace is taken for lost."""
        if child in self._planned.members and child not in self._survivors.lost:
            self._goodbyes[child] = asyncio.ensure_future(self._wait_for(child))

    def hear_hello(self, hello: pb.Hello, anew: bool) -> None:
        """A device in a new life has lost what the others had sent it, unless it was done with it."""
        self._told_before = max(self._told_before, hello.attempt)
        child, what = hello.node, self._survivors
        concerned = child in self._planned.members and child not in what.lost
        if anew and concerned and self._rounds and hello.finished < self._rounds[-1]:
            reason = f"'{child}' is in a new life"
            self._regroup(self._round_at_work(), what.lost, what.broken, reason, again=True)

    async def _wait_for(self, child: str) -> None:
        limits = self._plan.limits
        deadline = time.monotonic() + min(_BEATS_OF_GRACE * limits.heartbeat_s + 0.5, limits.lease_s)
        while time.monotonic() < deadline:
            if self._family.children[child].connected:
                return
            await asyncio.sleep(min(0.1, limits.heartbeat_s))
        if self._rounds:
            what = self._survivors
            self._regroup(self._round_at_work(), {*what.lost, child}, what.broken, f"'{child}' is lost")
        else:
            self._missed.add(child)

    def hear_trouble(self, child: str, trouble: pb.Trouble) -> None:
        link, what = frozenset((child, trouble.peer)), self._survivors
        if trouble.attempt < self.attempt or trouble.round not in self._rounds or link in what.broken:
            return  # about an attempt that is over
        if trouble.peer not in self._planned.members or trouble.peer == child:
            return
        reason = f"'{child}' does not reach '{trouble.peer}': {trouble.message}"
        self._regroup(trouble.round, what.lost, {*what.broken, link}, reason)

    def _round_at_work(self) -> int:
        """As far as the devices have said by now."""
        told = [
            status.round
            for child in self._planned.members
            for status in self._family.children[child].statuses
        ]
        return min(max([self._rounds.start, *told]), self._rounds.stop - 1)

    # -- what is done about it ----------------------------------------------------------------------------

    def _regroup(
        self,
        round_index: int,
        lost: set[str],
        broken: set[frozenset[str]],
        reason: str,
        again: bool = False,
    ) -> None:
        """`again`: what the devices have done since the first of these rounds is to be done again in any case."""
        self._survivors.lose(max(self.attempt, self._told_before) + 1, lost, broken)
        after = self.at(round_index)
        self.heads |= {self.at(r).head for r in self._rounds}
        pairs = sorted(sorted(link) for link in broken)
        # Who is still at it begins anew, and waits for what others had sent before; who that was is not known here.
        again = again or not self._has_all(round_index)
        told = pb.Regroup(
            attempt=self.attempt, lost=sorted(lost), again=again, first_round=self._rounds.start
        )
        told.broken.extend(name for pair in pairs for name in pair)
        self._family.tell_all(pb.ParentMessage(regroup=told))
        self._log.emit(
            "regrouped",
            round=round_index,
            attempt=self.attempt,
            again=again,
            head=after.head,
            edges=[list(pair) for pair in after.edges],
            lost=sorted(lost),
            broken=pairs,
            uplink=[m for m in self._planned.members if m not in after.members and m not in lost],
            reason=reason,
        )
