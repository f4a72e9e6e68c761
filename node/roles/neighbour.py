"""A device among its device-to-device peers: updates go hop by hop to the head, the aggregate comes back.

When a head or a relay is lost, the parent says how to go on, and the exchange begins anew: every device sends
again what it had sent, and nothing that belongs to an earlier attempt is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hffm.v1 import membership_pb2 as pb
from hffm.v1.payload_pb2 import PURPOSE_UPDATE, Manifest

from node.errors import HffmError, PayloadRefused
from node.payload import Payload, Values, size_bytes
from node.plan import CLUSTER_TIER, Cluster, Module, Relay
from node.roles.admission import check_peer
from node.roles.downward import Downward
from node.roles.exchange import Exchange, View
from node.roles.gossip import Consensus
from node.roles.inbox import Inbox
from node.roles.member import Held
from node.roles.upward import Upward
from node.waiting import Change
from node.wire.intake import Key, Landing, Partial
from node.wire.stream import WINDOW_BYTES
from node.wire.window import Window

if TYPE_CHECKING:
    from node.roles.member import Member


@dataclass(frozen=True)
class Part:
    """What this device has to do with one exchange; kept until the next one is done."""

    round: int
    own: dict[str, Held]  # its updates, of weight 0 where it trained nothing
    hand_up: set[str]  # modules that stay with the head, which sends them on to its parent


class Neighbour:
    """The `Receiver` of what a device's peers push, and its part in the circulation."""

    def __init__(self, member: Member, cluster: Cluster) -> None:
        self._member = member
        self._planned = cluster
        self._me = member.node.id
        self.inbox = Inbox()
        self._regrouped: View | None = None
        self._changed = Change()
        self._last: Part | None = None  # the last exchange that was done
        self._again: asyncio.Task[None] | None = None
        self.say_trouble: Callable[[pb.Trouble], None] = lambda trouble: None  # set by what holds the session

    def view(self, round_index: int) -> View:
        return self._regrouped or View(self._planned.at(round_index))

    def reports(self, round_index: int) -> bool:
        """Whether this device sends to its parent what goes device to device: as the head, or for itself alone."""
        cluster = self.view(round_index).cluster
        return cluster.head == self._me or self._me not in cluster.members

    # -- its part in a round ------------------------------------------------------------------------------

    async def circulate(self, round_index: int, modules: Sequence[str], hand_up: set[str]) -> None:
        """One exchange of these modules in the cluster, begun anew as often as the parent says so."""
        own = {name: self._fresh(name, round_index) for name in modules}
        part = Part(round_index, own, hand_up)
        self._member.held.update(await self._persist(part))
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
        while self.view(0).attempt == view.attempt and (left_s := deadline - time.monotonic()) > 0:
            await self._changed.wait(left_s)
        return self.view(0).attempt != view.attempt

    def _tell(self, part: Part, view: View, error: HffmError) -> None:
        peer = self._member.failed_peer
        what = f"round {part.round}: the exchange in the cluster broke off: {error}"
        self._member.log.emit("warning", message=what)
        if view.attempt == self.view(part.round).attempt:
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
                    self._say_aggregated(one)
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
                self._say_aggregated(one)
            return agreed
        return {n: Held(h.module, h.values, h.round) for n, h in agreed.items() if n not in hand_up}

    def _fresh(self, name: str, round_index: int) -> Held:
        """This device's own training of this round; of weight 0 when it trained nothing."""
        held = self._member.held[name]
        return held if held.round == round_index else Held(held.module, held.values, held.round)

    def _say_aggregated(self, held: Held) -> None:
        self._member.log.emit(
            "aggregated",
            round=held.round,
            module=held.module.name,
            tier=CLUSTER_TIER,
            contributors=list(held.contributors),
            weight=held.weight,
            sha256=held.payload.sha256.hex(),
        )

    # -- beginning anew -----------------------------------------------------------------------------------

    def regroup(self, told: pb.Regroup) -> None:
        """The parent names a head and the ways to it."""
        if self._regrouped is not None and told.attempt <= self._regrouped.attempt:
            return
        pairs = tuple(zip(told.edges[::2], told.edges[1::2], strict=True))
        self._regrouped = View(self._planned.turned(told.head, pairs), told.attempt)
        self._changed.happened()
        if told.again and self._last is not None:
            if self._again is not None:
                self._again.cancel()
            self._again = asyncio.ensure_future(self._once_more(self._last))

    async def _once_more(self, part: Part) -> None:
        """An exchange that this device has done, for those who have not, and for a parent that got no update."""
        try:
            held = await self._persist(part)
            if self._member.round != part.round:
                return  # this device has what it needs from it, and trains on
            self._member.held.update(held)
            if self.reports(part.round) and part.hand_up:
                mine = {name: self._member.held[name] for name in part.hand_up & set(part.own)}
                updates = [
                    self._member.announce(h, PURPOSE_UPDATE, part.round)
                    for h in mine.values()
                    if h.weight > 0
                ]
                await self._member.push(self._member.node.parent or "", updates, planned=list(mine))
        except HffmError as error:
            self._member.log.emit("warning", message=f"round {part.round} could not be done again: {error}")

    # -- payloads in --------------------------------------------------------------------------------------

    def admit(self, manifest: Manifest, peer: str) -> Module:
        if manifest.round > self._member.round + 1:
            raise PayloadRefused(
                f"payload of round {manifest.round} from '{peer}' is early: "
                f"'{self._me}' is in round {self._member.round}"
            )
        view = self.view(manifest.round)
        return check_peer(self._member.plan, view.cluster, view.attempt, self._me, manifest, peer)

    def land(self, manifest: Manifest, module: Module, peer: str) -> Landing:
        """What goes on as it comes lands in a window; what ends here, in a buffer of its own."""
        cluster = self.view(manifest.round).cluster
        relay = cluster.relays(module)
        passes = manifest.purpose == PURPOSE_UPDATE and cluster.head != self._me and cluster.gossip is None
        landing: Landing
        if passes and relay is not Relay.STORE_AND_FORWARD:
            summed = relay is Relay.AGGREGATE
            if summed and manifest.size_bytes not in (0, size_bytes(module)):
                raise PayloadRefused(
                    f"module '{module.name}': {manifest.size_bytes} bytes cannot be added up"
                )
            landing = Window(manifest, WINDOW_BYTES, checked=summed)
        else:
            landing = Partial(manifest, module)
        self.inbox.open(landing)
        return landing

    def taken(self, key: Key) -> bool:
        return self.inbox.taken(key)

    async def take(self, manifest: Manifest, values: Values, peer: str) -> None:
        payload = Payload(self._member.modules[manifest.module], values) if len(values) else None
        self.inbox.put(manifest, payload)

    def offer(self, module: str, sha256: bytes, peer: str) -> tuple[Manifest, Payload]:
        raise PayloadRefused(f"'{self._me}' hands out no versions: pull them from the parent in the plan")
