"""An aggregator: an edge server, the cloud, or any node between them.

In each round of its own it lets its children run as many of theirs as its modules' periods say, combines what
they push, and hands the result back. A module that nobody trained keeps its value.
"""

from __future__ import annotations

import time
from collections.abc import Container

from hffm.v1 import membership_pb2 as pb
from hffm.v1.payload_pb2 import PURPOSE_SNAPSHOT, PURPOSE_UPDATE

from node.aggregation import Collection
from node.errors import RunError
from node.log import NodeLog
from node.plan import CirculationChange, Module, Plan
from node.roles.feedback import sent
from node.roles.held import Held
from node.roles.journal import Kept, Progress
from node.roles.member import Member
from node.roles.regrouping import Regrouping
from node.roles.submissions import Submissions
from node.wire.circulating import message_of
from node.wire.family import Family
from node.wire.tls import Tls
from node.wire.transfer import Outgoing

_PER_TIER = 0.25  # of the deadline of a round: what each tier adds to it


class Aggregator(Member):
    """Its children push to its `submissions`."""

    def __init__(
        self, plan: Plan, node_id: str, log: NodeLog, family: Family, tls: Tls | None = None
    ) -> None:
        super().__init__(plan, node_id, log, tls)
        self.family = family
        self.submissions = Submissions(self, family)
        self._height = plan.height(node_id)
        self._ordered = 0  # at the root: rounds that were asked for
        self._skipped = 0  # rounds in a row
        self._late: Container[str] = ()  # children that were missing in the last round
        cluster = next((c for c in plan.clusters if c.parent == node_id), None)
        self._regrouping = Regrouping(plan, cluster, family, log, self.submissions) if cluster else None
        self.submissions.regrouping = self._regrouping
        if self._regrouping is not None:
            family.on_session_ended = self._regrouping.hear_session_ended
            family.on_trouble = self._regrouping.hear_trouble
            family.on_hello = self._regrouping.hear_hello

    def statuses(self) -> list[pb.NodeStatus]:
        return [self.status(), *self.family.statuses()]

    def restore(self, kept: Kept) -> None:
        super().restore(kept)
        self._ordered = kept.progress.ordered
        self.submissions.restore(kept.progress.taken)

    def progress(self) -> Progress:
        own = {"ordered": self._ordered, "taken": self.submissions.kept()}
        return super().progress().model_copy(update=own)

    @property
    def ordered(self) -> int:
        return self._ordered

    async def order(self, rounds: int, change: CirculationChange | None) -> None:
        """Keeps that so many rounds have been asked for, from the first one on, and how the new ones circulate."""
        if change is not None:
            self.circulation.follow(change)
        self._ordered = rounds
        await self.keep()

    def versions(self) -> dict[str, bytes]:
        return {name: held.payload.sha256 for name, held in self.held.items()}

    # -- commands -----------------------------------------------------------------------------------------

    async def run(self, first_round: int, count: int) -> None:
        """Rounds first_round ... first_round + count - 1; the result of the last one is not handed back yet."""
        at, end = first_round, first_round + count
        while at < end:
            stride = self.circulation.stride(self.node.tier, end - at, at)
            last = at + stride - 1
            if last > self.finished:
                await self._round(at, stride)
            at = last + 1
            if last == self.finished and at < end:
                await self.install_below(last)
        if self.node.parent is not None:
            await self._report_up(end - 1)

    async def install(self, round_index: int, versions: list[pb.Version]) -> None:
        """Adopts the parent's versions and hands on what is new."""
        self.phase = "installing"
        await self.adopt(round_index, versions)
        await self.install_below(round_index)

    async def install_below(self, round_index: int) -> None:
        """Lets the children adopt every version that is new to them, and evaluate; late ones are not waited for."""
        self.phase = "installing"
        command = pb.Install(round=round_index)
        for name, held in self.held.items():
            payload = held.payload
            command.versions.add(
                module=name, sha256=payload.sha256, blake3=payload.blake3, size_bytes=payload.size_bytes
            )
        started = time.monotonic()
        what = f"installing after round {round_index}"
        try:
            await self.family.command(command, what, self._patience_s(1), late=self._late)
        except RunError as error:
            if self.plan.limits.on_failed_round == "stop":
                raise
            # Who comes back gets the versions then; the next round waits until there are enough.
            self.log.emit("warning", message=f"{what}: {error}")
        self._late = ()
        self.log.emit("installed", round=round_index, wall_s=time.monotonic() - started)
        self.phase = "ready"

    async def collect(self, round_index: int) -> list[Outgoing]:
        """What its parent does not have yet, from here and from below."""
        self.submissions.ask_for_snapshots(round_index)
        try:
            await self.family.command(pb.Collect(round=round_index), "collecting", self._patience_s(1))
        finally:
            below = self.submissions.snapshots()
        own = [h for h in self.held.values() if h.weight > 0 or self.node.parent is None]
        return [self.announce(h, PURPOSE_SNAPSHOT, round_index) for h in own] + below

    # -- one round ----------------------------------------------------------------------------------------

    async def _round(self, first: int, count: int) -> None:
        last = first + count - 1
        self.round, self.phase = last, "waiting"
        started, clock = time.time(), time.monotonic()
        self.submissions.open(last)
        await self.traffic.follow_links(last)  # all that it sends is of this round
        try:
            missing = await self._as_many_as_needed(first, count)
        finally:
            self.submissions.close()
        self.phase = "aggregating"
        with self.meter.phase("aggregate", last):
            for name, total in sorted(self.submissions.sums.items()):
                self._close(self.modules[name], total, last)
        self.submissions.forget()
        self.log.emit(
            "round",
            t=started,
            round=last,
            rounds=count,
            tier=self.node.tier,
            wall_s=time.monotonic() - clock,
            missing=[f"{child}: {why}" for child, why in missing.items()],
            skipped=self._skipped > 0,
        )
        self.finished, self._late = last, missing
        await self.keep()

    async def _as_many_as_needed(self, first: int, count: int) -> dict[str, str]:
        """Repeats a round that has failed, or gives it up and what came for it, as the scenario says."""
        limits, failed, last = self.plan.limits, 0, first + count - 1
        while True:
            try:
                if failed:
                    await self.family.quorum.there(limits.round_s)
                missing = await self._children_run(first, count)
                self._skipped = 0
                return missing
            except RunError as error:
                failed += 1
                skips = limits.on_failed_round == "skip"
                if (
                    limits.on_failed_round == "stop"
                    or max(failed, self._skipped + skips) > limits.failed_rounds
                ):
                    raise
                self.log.emit(
                    "failed_round",
                    round=last,
                    tier=self.node.tier,
                    attempt=failed,
                    action=limits.on_failed_round,
                    reason=str(error),
                )
                if skips:
                    self._skipped += 1
                    self.submissions.forget()
                    return {child: str(error) for child in self.family.missing()}

    def _patience_s(self, rounds: int) -> float:
        """For so many rounds of the devices. Each tier waits a quarter longer than the one below."""
        return rounds * self.plan.limits.round_s * (1 + _PER_TIER * (self._height - 1))

    async def _children_run(self, first: int, count: int) -> dict[str, str]:
        """Rounds of the children; their cluster may have to begin an exchange anew on the way."""
        command, limit_s = pb.Run(first_round=first, count=count), self._patience_s(count)
        if (change := self.circulation.at(first)) is not None:
            command.circulation.CopyFrom(message_of(change))
        what, deadline = f"round {first + count - 1}", time.monotonic() + limit_s
        if self._regrouping is None:
            return await self.family.command(command, what, limit_s)
        before = self._regrouping.attempt
        self._regrouping.begin(first, count)
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
        while not self._regrouping.has_delivered(round_index) and time.monotonic() < deadline:
            await self.submissions.arrived.wait(min(1.0, deadline - time.monotonic()))

    def _close(self, module: Module, total: Collection, round_index: int) -> None:
        if total.lacking:
            message = f"round {round_index}: module '{module.name}' keeps its value: {total.lacking}"
            self.log.emit("warning", message=message)
            return
        update = total.mean()
        before = self.held[module.name]
        values = sent(self.private, module, self.node.tier, update.values, round_index)
        held = Held(module, values, round_index, update.weight, update.contributors)
        self.held[module.name] = held
        apart = self.submissions.drift(module.name, update.values)
        self.log.emit(
            "aggregated",
            round=round_index,
            module=module.name,
            tier=self.node.tier,
            contributors=list(update.contributors),
            weight=update.weight,
            rule=module.rule_at(self.node.tier),
            sha256=held.payload.sha256.hex(),
            rounds=round_index - before.round,
            senders=apart.senders if apart else None,
            drift=apart.distance if apart else None,
            step=apart.step if apart else None,
            norm=apart.norm if apart else None,
        )

    async def _report_up(self, round_index: int) -> None:
        parent = self.plan.node(self.node.parent or "")
        due = [h for h in self.held.values() if self.circulation.due(h.module, parent.tier, round_index)]
        updates = [self.announce(h, PURPOSE_UPDATE, round_index) for h in due if h.weight > 0]
        self.phase = "sending"
        await self.hand_up(updates, [h.module.name for h in due])
        self.phase = "ready"
