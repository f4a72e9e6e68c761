"""An aggregator: an edge server, the cloud, or any node between them.

In each round of its own it lets its children run as many of theirs as its modules' periods say, combines what
they push, and hands the result back. A module that nobody trained keeps its value.
"""

from __future__ import annotations

import time

from hffm.v1 import membership_pb2 as pb
from hffm.v1.payload_pb2 import PURPOSE_SNAPSHOT, PURPOSE_UPDATE, Manifest

from node.aggregation import RunningSum, Update
from node.errors import PayloadRefused
from node.log import NodeLog
from node.payload import Payload, Values
from node.plan import Module, Plan
from node.roles.admission import check_manifest
from node.roles.member import Held, Member
from node.roles.regrouping import Regrouping
from node.waiting import Change
from node.wire.family import Family
from node.wire.intake import Key, Partial, key_of
from node.wire.transfer import Outgoing


class Aggregator(Member):
    """Also the `Receiver` of what its children push."""

    def __init__(self, plan: Plan, node_id: str, log: NodeLog, family: Family) -> None:
        super().__init__(plan, node_id, log)
        self.family = family
        self._open_round: int | None = None  # the round whose updates are taken now
        self._sums: dict[str, RunningSum] = {}
        self._taken: set[Key] = set()
        self._collecting = False
        self._snapshots: list[Outgoing] = []
        # What the children hold, as far as this node has told them: module -> digest.
        self._arrived = Change()
        cluster = next((c for c in plan.clusters if c.parent == node_id), None)
        self._regrouping = Regrouping(plan, cluster, family, log) if cluster else None
        if self._regrouping is not None:
            family.on_session_ended = self._regrouping.hear_session_ended
            family.on_trouble = self._regrouping.hear_trouble
        self._announced = {name: held.payload.sha256 for name, held in self.held.items()}

    def statuses(self) -> list[pb.NodeStatus]:
        return [self.status(), *self.family.statuses()]

    # -- commands -----------------------------------------------------------------------------------------

    async def run(self, first_round: int, count: int) -> None:
        """Rounds first_round ... first_round + count - 1; the result of the last one is not handed back yet."""
        at, end = first_round, first_round + count
        while at < end:
            stride = self.plan.stride(self.node.tier, end - at, at)
            last = at + stride - 1
            await self._round(at, stride)
            at = last + 1
            if at < end:
                await self.install_below(last)
        if self.node.parent is not None:
            await self._report_up(end - 1)

    async def install(self, round_index: int, versions: list[pb.Version]) -> None:
        """Adopts the parent's versions and hands on what is new."""
        self.phase = "installing"
        await self.adopt(round_index, versions)
        await self.install_below(round_index)

    async def install_below(self, round_index: int) -> None:
        """Lets the children adopt every version that is new to them, and evaluate."""
        self.phase = "installing"
        digests = {name: held.payload.sha256 for name, held in self.held.items()}
        command = pb.Install(round=round_index)
        for name, digest in digests.items():
            if digest != self._announced[name]:
                size = self.held[name].payload.size_bytes
                command.versions.add(module=name, sha256=digest, size_bytes=size)
        started = time.monotonic()
        await self.family.command(command, f"installing after round {round_index}", self.plan.limits.round_s)
        self._announced = digests
        self.log.emit("installed", round=round_index, wall_s=time.monotonic() - started)
        self.phase = "ready"

    async def collect(self, round_index: int) -> list[Outgoing]:
        """What its parent does not have yet, from here and from below."""
        self._collecting, self._snapshots = True, []
        try:
            await self.family.command(pb.Collect(round=round_index), "collecting", self.plan.limits.round_s)
        finally:
            self._collecting = False
        own = [h for h in self.held.values() if h.weight > 0 or self.node.parent is None]
        below, self._snapshots = self._snapshots, []
        return [self.announce(h, PURPOSE_SNAPSHOT, round_index) for h in own] + below

    # -- one round ----------------------------------------------------------------------------------------

    async def _round(self, first: int, count: int) -> None:
        last = first + count - 1
        self.round, self.phase = last, "waiting"
        started, clock = time.time(), time.monotonic()
        self._sums, self._open_round = {}, last
        try:
            missing = await self._children_run(first, count)
        finally:
            self._open_round = None
        self.phase = "aggregating"
        with self.meter.phase("aggregate", last):
            for name in sorted(self._sums):
                self._close(self.modules[name], self._sums[name], last)
        self._sums = {}
        self.log.emit(
            "round",
            t=started,
            round=last,
            rounds=count,
            tier=self.node.tier,
            wall_s=time.monotonic() - clock,
            missing=[f"{child}: {why}" for child, why in missing.items()],
        )

    async def _children_run(self, first: int, count: int) -> dict[str, str]:
        """Rounds of the children; their cluster may have to begin an exchange anew on the way."""
        command, limit_s = pb.Run(first_round=first, count=count), count * self.plan.limits.round_s
        what, deadline = f"round {first + count - 1}", time.monotonic() + limit_s
        if self._regrouping is None:
            return await self.family.command(command, what, limit_s)
        before = self._regrouping.attempt
        self._regrouping.begin(first + count - 1)
        try:
            missing = await self.family.command(command, what, limit_s)
            if self._regrouping.attempt > before:
                await self._cluster_delivered(first + count - 1, deadline)
            return missing
        finally:
            self._regrouping.end()

    async def _cluster_delivered(self, round_index: int, deadline: float) -> None:
        """Waits for the updates of a new head, which had done its part in the round when it became one."""
        assert self._regrouping is not None
        due = [m.name for m in self.plan.modules if m.over_d2d and m.due(self.node.tier, round_index)]
        while due and time.monotonic() < deadline:
            head = self._regrouping.at(round_index).head
            if all(Key(round_index, name, head, PURPOSE_UPDATE) in self._taken for name in due):
                return
            await self._arrived.wait(min(1.0, deadline - time.monotonic()))

    def _close(self, module: Module, total: RunningSum, round_index: int) -> None:
        update = total.mean()
        held = Held(module, update.values, round_index, update.weight, update.contributors)
        self.held[module.name] = held
        self.log.emit(
            "aggregated",
            round=round_index,
            module=module.name,
            tier=self.node.tier,
            contributors=list(update.contributors),
            weight=update.weight,
            sha256=held.payload.sha256.hex(),
        )

    async def _report_up(self, round_index: int) -> None:
        parent = self.plan.node(self.node.parent or "")
        due = [h for h in self.held.values() if h.module.due(parent.tier, round_index)]
        updates = [self.announce(h, PURPOSE_UPDATE, round_index) for h in due if h.weight > 0]
        self.phase = "sending"
        await self.push(parent.id, updates, planned=[h.module.name for h in due])
        self.phase = "ready"

    # -- payloads in --------------------------------------------------------------------------------------

    def admit(self, manifest: Manifest, peer: str) -> Module:
        if peer not in self.family.children:
            raise PayloadRefused(f"'{peer}' is no child of '{self.node.id}' in the plan")
        if manifest.purpose == PURPOSE_SNAPSHOT:
            return self._admit_snapshot(manifest, peer)
        if manifest.purpose != PURPOSE_UPDATE:
            raise PayloadRefused(f"'{peer}' may push updates and snapshots here, nothing else")
        if manifest.sender != peer:
            raise PayloadRefused(f"'{peer}' may not push as '{manifest.sender}'")
        module = check_manifest(self.plan, manifest, self._entitled(peer, manifest.round))
        if not manifest.size_bytes:
            raise PayloadRefused(f"module '{module.name}': an empty update: send none instead")
        if key_of(manifest) in self._taken:
            return module
        if manifest.round != self._open_round:
            now = "no round is open" if self._open_round is None else f"round {self._open_round} is open"
            raise PayloadRefused(f"update of round {manifest.round} from '{peer}' is late or early: {now}")
        if not module.due(self.node.tier, manifest.round):
            raise PayloadRefused(f"module '{module.name}' is not averaged here in round {manifest.round}")
        return module

    def land(self, manifest: Manifest, module: Module, peer: str) -> Partial:
        return Partial(manifest, module)

    def _admit_snapshot(self, manifest: Manifest, peer: str) -> Module:
        if not self._collecting:
            raise PayloadRefused(f"'{peer}' sends a snapshot that was not asked for")
        below = self.plan.subtree(peer)
        if manifest.sender not in below:
            raise PayloadRefused(f"'{manifest.sender}' is not below '{peer}'")
        return check_manifest(self.plan, manifest, [d.id for d in self.plan.devices])

    def _entitled(self, peer: str, round_index: int) -> list[str]:
        """Devices whose training may be in an update that this child pushes."""
        if self._regrouping is not None:
            cluster = self._regrouping.at(round_index)
            if cluster.head == peer:
                return cluster.members
        return self.plan.subtree(peer)

    def taken(self, key: Key) -> bool:
        return key in self._taken

    async def take(self, manifest: Manifest, values: Values, peer: str) -> None:
        if manifest.purpose == PURPOSE_SNAPSHOT:
            self._snapshots.append(Outgoing(manifest, Payload(self.modules[manifest.module], values)))
            return
        if manifest.round != self._open_round:
            raise PayloadRefused(
                f"update of round {manifest.round} from '{peer}' came after its round was closed"
            )
        total = self._sums.setdefault(manifest.module, RunningSum(self.modules[manifest.module].size))
        total.add(Update(values, manifest.weight, tuple(manifest.contributors)))
        self._taken.add(key_of(manifest))
        self._arrived.happened()
