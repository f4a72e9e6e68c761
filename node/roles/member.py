"""What every node of a run has: its place in the plan, its links, and the versions of the modules it holds."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hffm.v1 import membership_pb2 as pb
from hffm.v1.payload_pb2 import PURPOSE_AGGREGATE, PURPOSE_SNAPSHOT, PURPOSE_UPDATE, Manifest, Purpose

from node.aggregation import Update
from node.errors import HffmError, PayloadRefused, ProtocolError
from node.log import NodeLog
from node.meter import Meter
from node.model.schema import initial_module
from node.payload import Payload, Values
from node.plan import LinkKind, Module, Plan
from node.wire.channels import Channels
from node.wire.pacing import Pacers
from node.wire.stream import StageMaker
from node.wire.transfer import Outgoing, Transfers, Want

_PURPOSE_NAMES = {PURPOSE_UPDATE: "update", PURPOSE_AGGREGATE: "aggregate", PURPOSE_SNAPSHOT: "snapshot"}


@dataclass(frozen=True)
class Held:
    """The version of one module that a node holds.

    A weight above 0 says that it is a result which the parent has not given back yet as part of its own.
    """

    module: Module
    values: Values
    round: int  # -1: the initial version
    weight: float = 0.0
    contributors: tuple[str, ...] = ()

    @cached_property
    def payload(self) -> Payload:
        return Payload(self.module, self.values)

    @property
    def update(self) -> Update:
        return Update(self.values, self.weight, self.contributors)


class Member:
    """State and transfers of one node."""

    def __init__(self, plan: Plan, node_id: str, log: NodeLog) -> None:
        self.plan = plan
        self.node = plan.node(node_id)
        self.log = log
        self.meter = Meter(log, self.node.watts)
        self.modules = {m.name: m for m in plan.modules}
        self.held = {m.name: Held(m, initial_module(m, plan.seed), -1) for m in plan.modules}
        links = {link.dst: link for link in plan.links if link.src == node_id}
        self.pacers = Pacers.for_backend(links, plan.links_backend)
        self.channels = Channels()
        self.transfers = Transfers(node_id, self.channels, self.pacers, plan.limits.stall_s)
        self.failed_peer = ""  # the last one that could not be reached
        self.phase = "joining"
        self.round = -1

    def follow_links(self, round_index: int) -> None:
        """Links of this node that move at this round."""
        for move in self.plan.moves:
            for link in move.links:
                if move.first_round == round_index and link.src == self.node.id:
                    self.pacers.move(link)

    # -- what it tells about itself -----------------------------------------------------------------------

    def status(self) -> pb.NodeStatus:
        versions = {name: held.payload.sha256.hex()[:12] for name, held in self.held.items()}
        return pb.NodeStatus(
            node=self.node.id,
            role=self.node.role,
            parent=self.node.parent or "",
            round=self.round,
            phase=self.phase,
            last_heartbeat_unix_s=time.time(),
            versions=versions,
        )

    # -- payloads out -------------------------------------------------------------------------------------

    def announce(self, held: Held, purpose: Purpose, round_index: int) -> Outgoing:
        """A payload of this node's own; an empty one when there is nothing behind the value."""
        manifest = Manifest(
            run_id=self.plan.run_id,
            round=round_index,
            module=held.module.name,
            sender=self.node.id,
            purpose=purpose,
            weight=held.weight,
            contributors=held.contributors,
        )
        if purpose != PURPOSE_SNAPSHOT and held.weight == 0:
            return Outgoing(manifest, None)
        manifest.size_bytes = held.payload.size_bytes
        manifest.sha256 = held.payload.sha256
        return Outgoing(manifest, held.payload)

    async def push(
        self,
        peer: str,
        outgoing: Sequence[Outgoing],
        planned: Collection[str] | None = None,
        waited_s: float = 0.0,
    ) -> None:
        """Sends the payloads over the link to `peer` and logs the transfer.

        `planned`: the modules that the plan prices for this transfer, when there may be more of them than have
        something to send. `waited_s`: for the link, which was in use; it counts as part of the transfer.
        """
        address = self.plan.node(peer).address
        if address is None:
            raise ProtocolError(f"'{peer}' has no address in the plan: nothing can be sent to it")
        padded = self._padded(outgoing, planned or {one.manifest.module for one in outgoing})
        if not padded:
            return
        started = time.time() - waited_s
        try:
            seconds = await self.transfers.push(peer, address, padded)
        except HffmError:
            self.failed_peer = peer
            raise
        first = padded[0].manifest
        self.log_transfer(
            self.node.id,
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
        address = self.plan.node(peer).address
        if address is None:
            raise ProtocolError(f"'{peer}' has no address in the plan: nothing can be sent to it")
        try:
            job = await self.transfers.stream(peer, address, makers)
        except HffmError:
            self.failed_peer = peer
            raise
        seconds = time.monotonic() - job.started
        first = job.manifests[0]
        self.log_transfer(
            self.node.id,
            peer,
            time.time() - seconds,
            seconds,
            job.sent_bytes,
            # Streams share links and wait for what they send on: only the airtime costs energy.
            airtime_s=job.airtime_s or seconds - job.stalled_s,
            round=first.round,
            purpose=_PURPOSE_NAMES[first.purpose],
            modules=sorted({m.module for m in job.manifests}),
            origins=sorted({m.sender for m in job.manifests}),
        )

    def _padded(self, outgoing: Sequence[Outgoing], planned: Collection[str]) -> list[Outgoing]:
        """The same payloads, the last whole one padded so that all have the modelled size."""
        whole = [one for one in outgoing if one.payload is not None]
        if self.plan.payload_bytes is None or not whole or whole[0].manifest.purpose == PURPOSE_SNAPSHOT:
            return list(outgoing)
        last = whole[-1].manifest
        size = sum(one.manifest.size_bytes for one in whole)
        origins = len({one.manifest.sender for one in whole})
        last.padding_bytes = max(0, origins * self.plan.padded_bytes(planned) - size)
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
        link = self.plan.link_at(src, dst, when if isinstance(when, int) else 0)
        airtime_s = seconds if airtime_s is None else airtime_s
        self.log.emit(
            "transfer",
            t=started,
            src=src,
            dst=dst,
            link=link.kind if link else self._kind(src, dst),
            bytes=size_bytes,
            seconds=seconds,
            modelled_s=link.seconds(size_bytes) if link else None,
            airtime_s=airtime_s,
            energy_j=airtime_s * link.power_w if link else 0.0,
            energy_source=f"model: airtime x {link.power_w:g} W" if link else "none: no link in the plan",
            **what,
        )

    def _kind(self, src: str, dst: str) -> LinkKind:
        """Of a transfer without a link in the plan, which is not shaped and not priced."""
        return LinkKind.DOWNLINK if self.plan.node(dst).parent == src else LinkKind.UPLINK

    # -- versions in and out ------------------------------------------------------------------------------

    async def adopt(self, round_index: int, versions: Sequence[pb.Version]) -> None:
        """Takes over the parent's versions, pulling those that it does not hold."""
        parent = self.plan.node(self.node.parent or "")
        missing = []
        for version in versions:
            held = self._known(version.module)
            if held.payload.sha256 == version.sha256:
                self.held[version.module] = Held(held.module, held.values, round_index)
            else:
                missing.append(Want(held.module, version.sha256))
        if not missing or parent.address is None:
            return
        started = time.time()
        try:
            seconds = await self.transfers.pull(parent.id, parent.address, self.plan.run_id, missing)
        except PayloadRefused as error:
            # This node is late, and its parent has moved on: the next Install brings the newer version.
            self.log.emit("warning", message=f"round {round_index} was not installed: {error}")
            return
        for want in missing:
            assert want.values is not None
            self.held[want.module.name] = Held(want.module, want.values, round_index)
        size = sum(self.held[w.module.name].payload.size_bytes for w in missing)
        names = [w.module.name for w in missing]
        what: dict[str, Any] = {
            "round": round_index,
            "purpose": "aggregate",
            "modules": names,
            "origins": [parent.id],
        }
        self.log_transfer(parent.id, self.node.id, started, seconds, size, **what)

    def offer(self, module: str, sha256: bytes, peer: str) -> tuple[Manifest, Payload]:
        """The version asked for by a child. Raises PayloadRefused when it is not held (any more)."""
        if self.plan.node(peer).parent != self.node.id:
            raise PayloadRefused(f"'{peer}' is no child of '{self.node.id}' and gets no versions from it")
        held = self._known(module)
        if held.payload.sha256 != sha256:
            raise PayloadRefused(
                f"module '{module}': '{self.node.id}' does not hold version {sha256.hex()[:12]}"
            )
        return self.announce(held, PURPOSE_SNAPSHOT, max(held.round, 0)).manifest, held.payload

    def _known(self, module: str) -> Held:
        if module not in self.held:
            raise PayloadRefused(f"module '{module}' is not in the plan; it has {', '.join(self.held)}")
        return self.held[module]
