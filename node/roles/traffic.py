"""What goes over the links of one node: sent, fetched, and logged beside what the plan says about the link."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

from hffm.v1.payload_pb2 import PURPOSE_AGGREGATE, PURPOSE_SNAPSHOT, PURPOSE_UPDATE

from node.errors import HffmError, ProtocolError
from node.log import NodeLog
from node.plan import LinkKind, Plan
from node.wire.channels import Channels
from node.wire.overhead import carried
from node.wire.pacing import Pacers
from node.wire.stream import StageMaker
from node.wire.tls import Tls
from node.wire.transfer import Outgoing, Transfers, Want

_PURPOSE_NAMES = {PURPOSE_UPDATE: "update", PURPOSE_AGGREGATE: "aggregate", PURPOSE_SNAPSHOT: "snapshot"}


# Told of each round: gives what the kernel does with this node's packets the rates of that round.
Reshape = Callable[[int], None]


def by_nobody(round_index: int) -> None:
    """Where the sender alone paces, or links stay as they are."""


class Traffic:
    """The transfers that one node starts, and the state of its links."""

    def __init__(self, plan: Plan, node: str, log: NodeLog, tls: Tls | None) -> None:
        self._plan = plan
        self._me = node
        self._log = log
        self.pacers = Pacers.of_node(plan, node)
        self.channels = Channels(tls)
        self._transfers = Transfers(node, self.channels, self.pacers, plan.limits.stall_s)
        self.reshape: Reshape = by_nobody
        self.failed_peer = ""  # the last one that could not be reached

    def on_heard(self, tell: Callable[[str], None]) -> None:
        """Each sign of life of a peer in a transfer is told."""
        self._transfers.on_heard = tell

    @property
    def moved_bytes(self) -> int:
        """Sent and fetched so far, repetitions included."""
        return self._transfers.moved_bytes

    async def follow_links(self, round_index: int) -> None:
        """Gives the links of this node the rates of this round; what is under way goes on at them."""
        if self._plan.moves:
            for link in self._plan.outgoing(self._me, round_index):
                self.pacers.move(link)
            await asyncio.to_thread(self.reshape, round_index)

    async def push(
        self,
        peer: str,
        outgoing: Sequence[Outgoing],
        planned: Collection[str] | None = None,
        waited_s: float = 0.0,
        resume: bool = False,
    ) -> None:
        """Sends the payloads over the link to `peer` and logs the transfer.

        `planned`: the modules that the plan prices for this transfer, when there may be more of them than have
        something to send. `waited_s`: for the link, which was in use; it counts as part of the transfer.
        `resume`: an earlier push of the same payloads has failed.
        """
        padded = self._padded(outgoing, planned or {one.manifest.module for one in outgoing})
        if not padded:
            return
        started = time.time() - waited_s
        try:
            seconds = await self._transfers.push(peer, self._address(peer), padded, resume)
        except HffmError:
            self.failed_peer = peer
            raise
        first = padded[0].manifest
        self.log_transfer(
            self._me,
            peer,
            started,
            waited_s + seconds,
            sum(one.total_bytes for one in padded),
            airtime_s=seconds,
            round=first.round,
            purpose=_PURPOSE_NAMES[first.purpose],
            modules=sorted({one.manifest.module for one in padded}),
            origins=sorted({one.manifest.sender for one in padded}),
        )

    async def stream(self, peer: str, makers: Sequence[StageMaker]) -> None:
        """Sends payloads that may still be on their way in over the link to `peer`, and logs the transfer."""
        try:
            job = await self._transfers.stream(peer, self._address(peer), makers)
        except HffmError as error:
            self.failed_peer = error.blamed or peer  # what is sent on may be somebody else's
            raise
        seconds = time.monotonic() - job.started
        first = job.manifests[0]
        self.log_transfer(
            self._me,
            peer,
            time.time() - seconds,
            seconds,
            job.sent_bytes,
            # Streams share links and wait for what they send on: only the airtime costs energy.
            airtime_s=job.airtime_s or seconds - job.stalled_s,
            waited_s=job.stalled_s + job.queued_s,
            round=first.round,
            purpose=_PURPOSE_NAMES[first.purpose],
            modules=sorted({m.module for m in job.manifests}),
            origins=sorted({m.sender for m in job.manifests}),
        )

    async def pull(self, peer: str, wants: Sequence[Want], round_index: int) -> None:
        """Fetches versions from `peer` and logs the transfer."""
        started = time.time()
        address = self._address(peer)
        seconds = await self._transfers.pull(peer, address, self._plan.run_id, wants)
        self.log_transfer(
            peer,
            self._me,
            started,
            seconds,
            sum(w.total_bytes for w in wants),
            round=round_index,
            purpose="aggregate",
            modules=[w.module.name for w in wants],
            origins=[peer],
        )

    def _address(self, peer: str) -> str:
        address = self._plan.node(peer).address
        if address is None:
            raise ProtocolError(
                f"'{peer}' has no address in the plan: no payload can go to it or come from it"
            )
        return address

    def _padded(self, outgoing: Sequence[Outgoing], planned: Collection[str]) -> list[Outgoing]:
        """The same payloads, the last whole one padded so that all have the modelled size."""
        whole = [one for one in outgoing if one.payload is not None]
        if self._plan.payload_bytes is None or not whole or whole[0].manifest.purpose == PURPOSE_SNAPSHOT:
            return list(outgoing)
        last = whole[-1].manifest
        size = sum(one.manifest.size_bytes for one in whole)
        origins = len({one.manifest.sender for one in whole})
        last.padding_bytes = max(0, origins * self._plan.padded_bytes(planned) - size)
        return list(outgoing)

    def log_transfer(
        self,
        src: str,
        dst: str,
        started: float,
        seconds: float,
        size_bytes: int,
        airtime_s: float | None = None,
        **what: object,
    ) -> None:
        """One transfer, beside what the plan's link says about it.

        `airtime_s`: for which the sender was sending; default: from the first byte to the receipt.
        """
        when = what.get("round")
        round_index = when if isinstance(when, int) else 0
        link, back = (self._plan.link_at(*pair, round_index) for pair in ((src, dst), (dst, src)))
        modelled = carried(link, self._plan.links_backend, back) if link else None
        airtime_s = seconds if airtime_s is None else airtime_s
        self._log.emit(
            "transfer",
            t=started,
            src=src,
            dst=dst,
            link=link.kind if link else self._kind(src, dst),
            bytes=size_bytes,
            seconds=seconds,
            modelled_s=modelled.seconds(size_bytes) if modelled else None,
            airtime_s=airtime_s,
            energy_j=airtime_s * link.both_w if link else 0.0,
            energy_source=f"model: airtime x {link.both_w:g} W" if link else "none: no link in the plan",
            **what,
        )

    def _kind(self, src: str, dst: str) -> LinkKind:
        """Of a transfer without a link in the plan, which is not shaped and not priced."""
        return LinkKind.DOWNLINK if self._plan.node(dst).parent == src else LinkKind.UPLINK
