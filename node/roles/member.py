"""What every node of a run has: its place in the plan, its links, and the versions of the modules it holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hffm.v1 import membership_pb2 as pb
from hffm.v1.payload_pb2 import PURPOSE_AGGREGATE, PURPOSE_SNAPSHOT, PURPOSE_UPDATE, Manifest, Purpose

from node.errors import HffmError, PayloadLate, PayloadRefused, ProtocolError
from node.log import NodeLog
from node.meter import Meter
from node.model.schema import initial_module
from node.payload import Payload, Values
from node.plan import Circulation, LinkKind, Plan
from node.precision import on_grid
from node.roles.held import Held
from node.roles.journal import Journal, Kept, Progress
from node.roles.private import Private
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


class Member:
    """State and transfers of one node."""

    def __init__(self, plan: Plan, node_id: str, log: NodeLog, tls: Tls | None = None) -> None:
        self.plan = plan
        self.node = plan.node(node_id)
        self.log = log
        self.meter = Meter(log, self.node.watts)
        self.modules = {m.name: m for m in plan.modules}
        self.circulation = Circulation(plan)
        mine = [m for m in plan.modules if plan.holds(node_id, m.name)]
        self.held = {m.name: Held(m, on_grid(m, initial_module(m, plan.seed)), -1) for m in mine}
        self.private = Private()
        # Digest of what the parent gave last of each module; at the start everybody has the same.
        self.given = {name: held.payload.sha256 for name, held in self.held.items()}
        self.finished = -1  # the last round that is done here
        self.journal: Journal | None = None
        self.unkept_events: Callable[[], Sequence[str]] = tuple  # said here, and not yet kept by the root
        self.sync_events: Callable[[], None] = lambda: None  # at the root: keeps all that have reached it
        self.pacers = Pacers.of_node(plan, node_id)
        self.channels = Channels(tls)
        self.transfers = Transfers(node_id, self.channels, self.pacers, plan.limits.stall_s)
        self.reshape: Reshape = by_nobody
        # What training started from, of modules whose updates are clipped where they are collected.
        self.before: dict[str, Values] = {}
        self.failed_peer = ""  # the last one that could not be reached
        self.phase = "joining"
        self.round = -1

    async def follow_links(self, round_index: int) -> None:
        """Gives the links of this node the rates of this round; what is under way goes on at them."""
        if self.plan.moves:
            for link in self.plan.outgoing(self.node.id, round_index):
                self.pacers.move(link)
            await asyncio.to_thread(self.reshape, round_index)

    # -- what it keeps for its next life ------------------------------------------------------------------

    def resume(self) -> Progress | None:
        """Goes on from the journal, if there is anything in it. Raises StateError."""
        found = self.journal.read() if self.journal is not None else None
        if found is None:
            return None
        self.restore(found)
        self.log.emit("resumed", round=self.finished)
        return found.progress

    def restore(self, kept: Kept) -> None:
        self.held = dict(kept.held)
        self.finished = self.round = kept.progress.finished
        for change in kept.progress.circulation:
            self.circulation.follow(change)
        self.given |= {name: bytes.fromhex(digest) for name, digest in kept.progress.given.items()}
        self.private.restore(kept.private)

    def sent(self) -> Mapping[str, Held]:
        """Updates that may be asked for again, beside what is held."""
        return {}

    def progress(self) -> Progress:
        given = {name: digest.hex() for name, digest in self.given.items()}
        changes, events = self.circulation.changes, tuple(self.unkept_events())
        return Progress(finished=self.finished, given=given, circulation=changes, events=events)

    async def keep(self) -> None:
        """Journals what is done here. Raises StateError."""
        if self.journal is not None:
            await asyncio.to_thread(self.sync_events)
            kept = Kept(dict(self.held), self.progress(), self.sent(), self.private.kept())
            await asyncio.to_thread(self.journal.write, kept)

    # -- what it tells about itself -----------------------------------------------------------------------

    def status(self) -> pb.NodeStatus:
        versions = {name: sha256.hex()[:12] for name, sha256 in self.given.items()}
        return pb.NodeStatus(
            node=self.node.id,
            role=self.node.role,
            parent=self.node.parent or "",
            round=self.round,
            phase=self.phase,
            last_heartbeat_unix_s=time.time(),
            versions=versions,
            moved_bytes=self.transfers.moved_bytes,
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
        if purpose == PURPOSE_SNAPSHOT:
            manifest.sha256 = held.payload.sha256
        else:
            manifest.blake3 = held.payload.blake3
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
            waited_s=job.stalled_s + job.queued_s,
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
        round_index = when if isinstance(when, int) else 0
        link, back = (self.plan.link_at(*pair, round_index) for pair in ((src, dst), (dst, src)))
        modelled = carried(link, self.plan.links_backend, back) if link else None
        airtime_s = seconds if airtime_s is None else airtime_s
        self.log.emit(
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
        return LinkKind.DOWNLINK if self.plan.node(dst).parent == src else LinkKind.UPLINK

    # -- versions in and out ------------------------------------------------------------------------------

    async def adopt(self, round_index: int, versions: Sequence[pb.Version]) -> None:
        """Takes over those of the parent's versions that it has not given before, pulling what is not held.

        From then on this node is where its parent is, which may be behind it: a parent that lost its last rounds
        has them done again.
        """
        mine = [
            v for v in versions if v.module not in self.modules or self.plan.holds(self.node.id, v.module)
        ]
        new = [v for v in mine if self.given[self._known(v.module).module.name] != v.sha256]
        wanted = [v for v in new if self.held[v.module].payload.blake3 != v.blake3]
        if wanted and not await self._pull(round_index, wanted):
            return
        for version in new:
            held = self.held[version.module]
            same = held.values if version in wanted else on_grid(held.module, held.values)
            self.held[version.module] = Held(held.module, same, round_index)
            self.given[version.module] = version.sha256
        if new:
            self.finished = self.round = round_index

    async def _pull(self, round_index: int, versions: Sequence[pb.Version]) -> bool:
        """Whether the parent still had them."""
        parent = self.plan.node(self.node.parent or "")
        missing = [Want(self.modules[v.module], v.sha256) for v in versions]
        if parent.address is None:
            raise ProtocolError(f"'{parent.id}' has no address in the plan: nothing can be pulled from it")
        started = time.time()
        try:
            seconds = await self.transfers.pull(parent.id, parent.address, self.plan.run_id, missing)
        except PayloadRefused as error:
            # This node is late, and its parent has moved on: the next Install brings the newer version.
            self.log.emit("warning", message=f"round {round_index} was not installed: {error}")
            return False
        for want in missing:
            assert want.values is not None
            self.held[want.module.name] = Held(want.module, want.values, round_index)
        size = sum(w.total_bytes for w in missing)
        names = [w.module.name for w in missing]
        what: dict[str, Any] = {
            "round": round_index,
            "purpose": "aggregate",
            "modules": names,
            "origins": [parent.id],
        }
        self.log_transfer(parent.id, self.node.id, started, seconds, size, **what)
        return True

    def offer(self, module: str, sha256: bytes, peer: str) -> tuple[Manifest, Payload]:
        """The version asked for by a child. Raises PayloadRefused when it is not held (any more)."""
        if self.plan.node(peer).parent != self.node.id:
            raise PayloadRefused(f"'{peer}' is no child of '{self.node.id}' and gets no versions from it")
        held = self._known(module)
        if held.payload.sha256 != sha256:
            raise PayloadLate(
                f"module '{module}': '{self.node.id}' does not hold version {sha256.hex()[:12]}"
            )
        manifest = self.announce(held, PURPOSE_SNAPSHOT, max(held.round, 0)).manifest
        manifest.blake3 = held.payload.blake3
        if self.plan.payload_bytes is not None and self.plan.link(self.node.id, peer) is not None:
            manifest.padding_bytes = max(0, self.plan.padded_bytes([module]) - manifest.size_bytes)
        return manifest, held.payload

    def _known(self, module: str) -> Held:
        if module not in self.held:
            raise PayloadRefused(f"module '{module}' is not in the plan; it has {', '.join(self.held)}")
        return self.held[module]
