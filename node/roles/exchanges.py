"""Exchanges of a device with its peers: updates go hop by hop to the head, the aggregate comes back.

When a head or a relay is lost, the parent says so, and the exchange begins anew: every device sends
again what it had sent, and nothing that belongs to an earlier attempt is counted.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from hffm.v1 import membership_pb2 as pb
from hffm.v1.payload_pb2 import PURPOSE_UPDATE

from node.aggregation.update import largest
from node.errors import HffmError
from node.plan import CLUSTER_TIER, Cluster, Module, Relay
from node.roles.downward import Downward
from node.roles.exchange import Exchange, View
from node.roles.gossip import Consensus
from node.roles.held import Held
from node.roles.inbox import Inbox
from node.roles.survivors import Survivors
from node.roles.upward import Upward
from node.waiting import Change

if TYPE_CHECKING:
    from node.roles.member import Member


@dataclass(frozen=True)
class Part:
    """What this device has to do with one exchange; kept until the next one is done."""

    round: int
    own: dict[str, Held]  # its updates, of weight 0 where it trained nothing
    hand_up: set[str]  # modules that stay with the head, which sends them on to its parent


class Exchanges:
    """The part of one device in those of its cluster."""

    def __init__(self, member: Member, cluster: Cluster) -> None:
        self._member = member
        self._planned = cluster
        self._survivors = Survivors(member.plan, cluster)
        self._me = member.node.id
        self.inbox = Inbox()
        self._changed = Change()
        self._last: Part | None = None  # the last exchange that was done
        self._again: asyncio.Task[None] | None = None
        self.say_trouble: Callable[[pb.Trouble], None] = lambda trouble: None  # set by what holds the session

    def view(self, round_index: int) -> View:
        return View(self._survivors.at(round_index), self._survivors.attempt)

    def avoid(self, peer: str, reason: str) -> None:
        """What this peer sent was wrong: the parent is asked for other ways than over it."""
        attempt = self.view(self._member.round).attempt
        round_index = max(0, self._member.round)
        self.say_trouble(pb.Trouble(round=round_index, attempt=attempt, peer=peer, message=reason))

    def reports(self, round_index: int) -> bool:
        """Whether this device sends to its parent what goes device to device: as the head, or for itself alone."""
        cluster = self.view(round_index).cluster
        return cluster.head == self._me or self._me not in cluster.members

    # -- its part in a round ------------------------------------------------------------------------------

    async def circulate(self, round_index: int, modules: Sequence[str], hand_up: set[str]) -> None:
        """One exchange of these modules in the cluster, begun anew as often as the parent says so."""
        own = {name: self._fresh(name, round_index) for name in modules}
        part = Part(round_index, own, hand_up)
        self._member.held.update(self._kept(part, await self._persist(part)))
        self._last = part
        self.inbox.settle(round_index, self.view(round_index).attempt)

    async def _persist(self, part: Part) -> dict[str, Held]:
        """What this device holds after the exchange. Raises what made the last attempt fail."""
        deadline = time.monotonic() + self._member.plan.limits.round_s
        while True:
            view = self.view(part.round)
            work = asyncio.ensure_future(self._attempt(part, view))
            anew = asyncio.ensure_future(self._regrouped_since(view, deadline))
            try:
                await asyncio.wait({work, anew}, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    return work.result()
                if not anew.result():
                    self._member.log.emit(
                        "warning", message=f"round {part.round}: no end of the exchange in time"
                    )
                    return {}
            except HffmError as error:
                self._tell(part, view, error)
                patience = min(deadline, time.monotonic() + self._member.plan.limits.lease_s)
                if not await self._regrouped_since(view, patience):
                    raise
            finally:
                for task in (work, anew):
                    task.cancel()
                await asyncio.wait({work, anew})

    async def _regrouped_since(self, view: View, deadline: float) -> bool:
        """Once the parent has named other ways than these; False at the deadline."""
        while self._survivors.attempt == view.attempt and (left_s := deadline - time.monotonic()) > 0:
            await self._changed.wait(left_s)
        return self._survivors.attempt != view.attempt

    def _tell(self, part: Part, view: View, error: HffmError) -> None:
        peer = self._member.traffic.failed_peer
        what = f"round {part.round}: the exchange in the cluster broke off: {error}"
        self._member.log.emit("warning", message=what)
        if view.attempt == self._survivors.attempt:
            self.say_trouble(
                pb.Trouble(round=part.round, attempt=view.attempt, peer=peer, message=str(error))
            )

    async def _attempt(self, part: Part, view: View) -> dict[str, Held]:
        """One way of relaying after the other."""
        if self._me not in view.cluster.members:
            what = "takes the uplink" if part.hand_up else "is averaged with nobody"
            self._member.log.emit(
                "warning", message=f"round {part.round}: no usable link to a peer: what it trained {what}"
            )
            return {}
        held: dict[str, Held] = {}
        for relay in Relay:
            modules = self._member.modules
            own = {n: h for n, h in part.own.items() if view.cluster.relays(modules[n]) is relay}
            if own:
                exchange = Exchange(self._member, self.inbox, view, relay, part.round, own)
                if view.cluster.gossip is not None:
                    held |= await self._consensus(exchange, view.cluster, part.hand_up)
                    continue
                combined = await Upward(exchange).run()
                for one in combined.values():
                    self._say_aggregated(one, view.attempt)
                held |= combined
                back = [name for name in own if name not in part.hand_up]
                if back:
                    held |= await Downward(exchange, back).run(combined)
        return held

    async def _consensus(self, exchange: Exchange, cluster: Cluster, hand_up: set[str]) -> dict[str, Held]:
        """Everybody has the mean in the end; the head alone speaks for the cluster."""
        assert cluster.gossip is not None
        agreed = await Consensus(exchange, cluster, cluster.gossip).run()
        if cluster.head == self._me:
            for one in agreed.values():
                self._say_aggregated(one, exchange.attempt)
            return agreed
        return {n: Held(h.module, h.values, h.round) for n, h in agreed.items() if n not in hand_up}

    def concerned(self) -> list[Module]:
        """The modules that somebody in this cluster holds."""
        plan, members = self._member.plan, self._planned.members
        return [m for m in plan.modules if any(plan.holds(member, m.name) for member in members)]

    def _kept(self, part: Part, held: Mapping[str, Held]) -> dict[str, Held]:
        """What this device holds, and what it sends up for the cluster; the rest only passed through."""
        plan = self._member.plan
        return {
            name: one
            for name, one in held.items()
            if plan.holds(self._me, name) or (name in part.hand_up and one.weight > 0)
        }

    def _fresh(self, name: str, round_index: int) -> Held:
        """This device's own training of this round; of weight 0 when it trained nothing."""
        module = self._member.modules[name]
        if name not in self._member.held:  # it only passes through
            return Held(module, np.zeros(module.size, np.float32), -1)
        held = self._member.held[name]
        if held.round == round_index and not math.isfinite(largest(held.values)):
            what = f"round {round_index}: module '{name}' has values that are not finite: training diverged"
            self._member.log.emit("warning", message=f"{what}; it is not sent")
            return Held(module, np.zeros(module.size, np.float32), -1)
        return held if held.round == round_index else Held(held.module, held.values, held.round)

    def _say_aggregated(self, held: Held, attempt: int) -> None:
        if held.weight == 0:
            return
        self._member.log.emit(
            "aggregated",
            round=held.round,
            module=held.module.name,
            tier=CLUSTER_TIER,
            attempt=attempt,
            contributors=list(held.contributors),
            weight=held.weight,
            rule=held.module.rule_at(CLUSTER_TIER),
            sha256=held.payload.sha256.hex(),
        )

    # -- a new life ---------------------------------------------------------------------------------------

    def attempt(self) -> int:
        """The last one that the parent has told, in whatever life."""
        return self._survivors.attempt

    def kept_part(self) -> tuple[dict[str, Held], tuple[str, ...]]:
        """What others may ask for again: the updates of the last exchange, and what of it was handed up."""
        return (self._last.own, tuple(sorted(self._last.hand_up))) if self._last is not None else ({}, ())

    def resume(self, round_index: int, sent: Mapping[str, Held], hand_up: Sequence[str]) -> None:
        if sent:
            self._last = Part(round_index, dict(sent), set(hand_up))

    # -- beginning anew -----------------------------------------------------------------------------------

    def regroup(self, told: pb.Regroup) -> None:
        """The parent says what is lost."""
        if told.attempt <= self._survivors.attempt:
            return
        self._survivors.lose(told.attempt, told.lost, zip(told.broken[::2], told.broken[1::2], strict=True))
        self._changed.happened()
        if told.again and self._last is not None and self._last.round >= told.first_round:
            if self._again is not None:
                self._again.cancel()
            self._again = asyncio.ensure_future(self._once_more(self._last))

    async def done_again(self) -> None:
        """Waits until an exchange that was to be done again is over; it ends at its own deadline."""
        if self._again is not None:
            await asyncio.wait({self._again})

    async def _once_more(self, part: Part) -> None:
        """An exchange that this device has done, for those who have not, and for a parent that got no update."""
        try:
            held = await self._persist(part)
            if self._member.round != part.round:
                return  # this device has what it needs from it, and trains on
            self._member.held.update(self._kept(part, held))
            if self.reports(part.round) and part.hand_up:
                names = [n for n in part.own if n in part.hand_up and n in self._member.held]
                mine = {name: self._member.held[name] for name in names}
                updates = [
                    self._member.announce(h, PURPOSE_UPDATE, part.round)
                    for h in mine.values()
                    if h.weight > 0
                ]
                await self._member.hand_up(updates, list(mine))
        except HffmError as error:
            self._member.log.emit("warning", message=f"round {part.round} could not be done again: {error}")
