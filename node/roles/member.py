"""What every node of a run has: its place in the plan, its traffic, and the versions of the modules it holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from hffm.v1 import membership_pb2 as pb
from hffm.v1.payload_pb2 import PURPOSE_SNAPSHOT, Manifest, Purpose

from node.errors import (
    BusyError,
    HffmError,
    Overloaded,
    PayloadCorrupt,
    PayloadLate,
    PayloadRefused,
    TransferStalled,
    UnreachableError,
)
from node.log import NodeLog
from node.meter import Meter
from node.model.schema import initial_module
from node.payload import Payload, Values
from node.plan import Circulation, Plan
from node.precision import on_grid
from node.roles.held import Held
from node.roles.journal import Journal, Kept, Progress
from node.roles.private import Private
from node.roles.traffic import Traffic
from node.wire.tls import Tls
from node.wire.transfer import Outgoing, Want


class Member:
    """State of one node."""

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
        self.traffic = Traffic(plan, node_id, log, tls)
        # What training started from, of modules whose updates are clipped where they are collected.
        self.before: dict[str, Values] = {}
        self.phase = "joining"
        self.round = -1

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
        versions = {name: sha256.hex()[:12] for name, sha256 in self.versions().items()}
        return pb.NodeStatus(
            node=self.node.id,
            role=self.node.role,
            parent=self.node.parent or "",
            round=self.round,
            phase=self.phase,
            last_heartbeat_unix_s=time.time(),
            versions=versions,
            moved_bytes=self.traffic.moved_bytes,
        )

    def versions(self) -> dict[str, bytes]:
        """SHA-256 of what its parent gave it last; what it has trained since has no name yet."""
        return dict(self.given)

    # -- what it sends to its parent ----------------------------------------------------------------------

    async def hand_up(self, outgoing: Sequence[Outgoing], planned: Collection[str] | None = None) -> None:
        """Pushes to the parent; over a link that fails, again and again for as long as a round may take.

        What is not taken in the end is said in the log, and this node goes on: the parent decides what a round is
        worth without it, and a parent that is gone ends this node with its lease.
        """
        parent, deadline, failed = self.node.parent or "", time.monotonic() + self.plan.limits.round_s, 0
        what = f"what was to go up in round {self.round}"
        while True:
            try:
                return await self.traffic.push(parent, outgoing, planned, resume=failed > 0)
            except (TransferStalled, UnreachableError) as error:
                failed += 1
                self.say_failed(parent, failed, error)
                if time.monotonic() > deadline:
                    return self.log.emit(
                        "warning", message=f"{what} is given up after {failed} attempts: {error}"
                    )
            except (PayloadRefused, PayloadCorrupt, BusyError, Overloaded) as error:
                # Too late, most often: the round was closed without this node, which goes on with the next one.
                # Or too early for a parent in a new life, which will ask for it.
                return self.log.emit("warning", message=f"{what} was not taken: {error}")

    def say_failed(self, peer: str, attempt: int, error: HffmError) -> None:
        """One transfer came to nothing, and is tried again."""
        kind, message = type(error).__name__, str(error)
        self.log.emit(
            "failed_transfer", round=self.round, peer=peer, attempt=attempt, error=kind, message=message
        )

    # -- versions out and in -------------------------------------------------------------------------------------

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
        """Whether the parent still had them. Over a link that fails, it goes on where the last attempt broke."""
        missing = [Want(self.modules[v.module], v.sha256) for v in versions]
        parent, deadline, failed = self.node.parent or "", time.monotonic() + self.plan.limits.round_s, 0
        while left := [want for want in missing if want.values is None]:
            try:
                await self.traffic.pull(parent, left, round_index)
            except (TransferStalled, UnreachableError) as error:
                failed += 1
                self.say_failed(parent, failed, error)
                if time.monotonic() > deadline:
                    self.log.emit("warning", message=f"round {round_index} was not installed: {error}")
                    return False
            except PayloadRefused as error:
                # This node is late, and its parent has moved on: the next Install brings the newer version.
                self.log.emit("warning", message=f"round {round_index} was not installed: {error}")
                return False
        for want in missing:
            assert want.values is not None
            self.held[want.module.name] = Held(want.module, want.values, round_index)
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
