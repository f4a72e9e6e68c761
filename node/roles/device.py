"""A device: trains, evaluates, sends what it learned, adopts what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from typing import TypeVar

from hffm.v1 import membership_pb2 as pb
from hffm.v1.payload_pb2 import PURPOSE_SNAPSHOT, PURPOSE_UPDATE

from node import gate
from node.learning.learner import Learner, Score, Trained
from node.learning.standin import StandIn
from node.log import NodeLog
from node.plan import CLUSTER_TIER, Module, Plan
from node.roles import feedback, personal
from node.roles.battery import Battery
from node.roles.exchanges import Exchanges
from node.roles.held import Held
from node.roles.journal import Kept, Progress
from node.roles.member import Member
from node.wire.tls import Tls
from node.wire.transfer import Outgoing

T = TypeVar("T")

# Seconds of evaluation per second of training on the same sample: no backward pass and no optimizer. Measured with
# the built-in backbone on one core of a server: 0.43 ms and 1.15 ms.
_EVALUATION = 0.4


# Of all devices of this process, which compute one after the other. It starts no thread before it is used.
_LEARNERS = ThreadPoolExecutor(1, thread_name_prefix="learner")


class Device(Member):
    """All computing runs in another thread, so that the event loop keeps answering."""

    def __init__(self, plan: Plan, node_id: str, log: NodeLog, tls: Tls | None = None) -> None:
        super().__init__(plan, node_id, log, tls)
        cluster = plan.cluster_of(node_id)
        self.exchanges = Exchanges(self, cluster) if cluster is not None else None
        self.battery = Battery(plan, node_id, self.circulation)
        own = (
            plan.computing == "modelled"
        )  # which rests, and is not to hold up the other devices of this process
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="learner") if own else _LEARNERS
        self._learner: Learner | StandIn | None = None
        self._scores: list[Score] = []
        self._evaluated = -1  # last round whose aggregate has been evaluated

    def statuses(self) -> list[pb.NodeStatus]:
        return [self.status()]

    async def load(self) -> dict[str, int]:
        """Loads model and data; training samples behind each module."""
        self.phase = "loading"
        kind = StandIn if self.plan.training.left_out else Learner
        self._learner = await self._compute("load", -1, lambda: kind(self.plan, self.node.id))
        self.phase = "ready"
        return dict(self._learner.samples)

    def restore(self, kept: Kept) -> None:
        super().restore(kept)
        if self.exchanges is not None:
            self.exchanges.resume(self.finished, kept.sent, kept.progress.handed_up)

    def progress(self) -> Progress:
        handed_up = self.exchanges.kept_part()[1] if self.exchanges is not None else ()
        return super().progress().model_copy(update={"handed_up": handed_up})

    def sent(self) -> Mapping[str, Held]:
        return self.exchanges.kept_part()[0] if self.exchanges is not None else {}

    # -- commands -----------------------------------------------------------------------------------------

    async def run(self, first_round: int, count: int) -> None:
        last = first_round + count - 1
        for round_index in range(first_round, last + 1):
            if round_index > self.finished:
                self.round = round_index
                await self.traffic.follow_links(round_index)
                await self._train(round_index)
                await self._circulate(round_index)
                self.finished = round_index
                if self._holds_alone(round_index, last):
                    await self.keep()
            await self._report(round_index)
            if self.finished == round_index < last and round_index > self._evaluated:
                await self._evaluate(round_index)

    def _holds_alone(self, round_index: int, last: int) -> bool:
        """Whether there is something of this round that its parent could not give back, or that it averaged."""
        own = (h.module for h in self.held.values() if h.weight > 0)
        return (
            round_index < last
            or self.exchanges is not None
            or any(not self.circulation.due(m, self._parent_tier, round_index) for m in own)
            or bool(self.private.kept())
        )

    async def install(self, round_index: int, versions: list[pb.Version]) -> None:
        self.phase = "installing"
        await self.adopt(round_index, versions)
        if round_index >= 0 and round_index > self._evaluated:
            await self._evaluate(round_index)
        self.phase = "ready"

    async def collect(self, round_index: int) -> list[Outgoing]:
        """What its parent does not have: results that were not averaged any further."""
        own = [personal.own(self.private, h) for h in self.held.values() if h.weight > 0 or h.module.mix < 1]
        return [self.announce(h, PURPOSE_SNAPSHOT, round_index) for h in own]

    # -- learning -----------------------------------------------------------------------------------------

    async def _train(self, round_index: int) -> None:
        self.phase = "training"
        learner = self._loaded
        # What it had only as the head, of modules that it does not hold, was of the last round.
        self.held = {name: held for name, held in self.held.items() if self.plan.holds(self.node.id, name)}
        values = {
            name: personal.start(self.private, held, self.node.id, round_index)
            for name, held in self.held.items()
        }
        self.before = {name: h.values for name, h in self.held.items() if h.module.robust is not None}
        trained: Trained | None = None
        if self.battery.lasts(round_index, learner.train_samples):
            seconds = self._modelled_s(learner.train_samples, self.plan.training.epochs)
            trained = await self._compute(
                "train", round_index, lambda: learner.train(values, round_index), seconds
            )
        else:
            self.log.emit("warning", message=f"round {round_index}: the battery is empty: nothing is trained")
        samples = {name: n for name, n in trained.samples.items() if n > 0} if trained else {}
        for name, count in samples.items():
            assert trained is not None
            self.held[name] = Held(
                self.modules[name], trained.modules[name], round_index, float(count), (self.node.id,)
            )
            personal.learned(self.private, self.held[name])
        scores = await self._scored(round_index, [personal.own(self.private, h) for h in self.held.values()])
        for score in scores:
            self._log_score(score, round_index, "local", trained)
        self._quantise(round_index)

    def _quantise(self, round_index: int) -> None:
        """What goes out now is from here on what this device holds."""
        near = CLUSTER_TIER if self.exchanges is not None else self._parent_tier
        due_at = self.circulation.due
        for name, held in self.held.items():
            due = {tier for tier in (near, self._parent_tier) if due_at(held.module, tier, round_index)}
            if due and held.weight > 0 and held.round == round_index:
                values = feedback.sent(self.private, held.module, self.node.tier, held.values, round_index)
                self.held[name] = replace(held, values=values)

    async def _evaluate(self, round_index: int) -> None:
        """The aggregates, also where the device goes on with something else; its own where nothing came back."""
        self.phase = "evaluating"
        for score in await self._scored(round_index, list(self.held.values())):
            self._log_score(score, round_index, "aggregated", None)
        self._evaluated = round_index

    async def _scored(self, round_index: int, versions: Sequence[Held]) -> list[Score]:
        learner = self._loaded
        values = {held.module.name: held.values for held in versions}
        seconds = self._modelled_s(learner.test_samples, _EVALUATION)
        return await self._compute("evaluate", round_index, lambda: learner.evaluate(values), seconds)

    def _log_score(self, score: Score, round_index: int, when: str, trained: Trained | None) -> None:
        task = next(t for t in self.plan.tasks if t.name == score.task)
        modules = [n for n, h in self.held.items() if h.module.trained_by(task)]
        samples = self._loaded.train_samples.get(score.task, 0)
        self.log.emit(
            "metric",
            round=round_index,
            task=score.task,
            when=when,
            correct=score.correct,
            total=score.total,
            accuracy=score.correct / score.total if score.total else None,
            loss=trained.losses.get(score.task) if trained else None,
            train_samples=samples,
            baseline=score.baseline,
            modules=modules,
        )

    @property
    def _loaded(self) -> Learner | StandIn:
        assert self._learner is not None, "load() comes first"
        return self._learner

    def _modelled_s(self, samples: Mapping[str, int], each: float) -> float | None:
        """Seconds of this class of device for its samples of all tasks; None where seconds are measured."""
        if self.plan.computing == "measured":
            return None
        return self.node.sample_s * each * sum(samples.values())

    async def _compute(
        self, phase: str, round_index: int, work: Callable[[], T], modelled_s: float | None = None
    ) -> T:
        def measured() -> T:
            # Modelled seconds are the device's own: they do not wait for a turn on this machine.
            turn = gate.turn() if modelled_s is None else nullcontext()
            with turn, self.meter.phase(phase, round_index, modelled_s):
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, measured)

    # -- sending ------------------------------------------------------------------------------------------

    def _upward(self, round_index: int) -> list[Module]:
        due = self.circulation.due
        return [m for m in self.plan.modules if due(m, self._parent_tier, round_index)]

    @property
    def _parent_tier(self) -> str:
        return self.plan.node(self.node.parent or "").tier

    async def _circulate(self, round_index: int) -> None:
        self.phase = "sending"
        if self.exchanges is not None:
            due = (
                m for m in self.exchanges.concerned() if self.circulation.due(m, CLUSTER_TIER, round_index)
            )
            near = [m.name for m in due]
            if near:
                hand_up = {m.name for m in self._upward(round_index)}
                await self.exchanges.circulate(round_index, near, hand_up=hand_up)

    async def _report(self, round_index: int) -> None:
        self.phase = "sending"
        if self.exchanges is not None:
            await self.exchanges.done_again()
        reports = self.exchanges is None or self.exchanges.reports(round_index)
        upward = [m for m in self._upward(round_index) if m.name in self.held]
        mine = [m.name for m in upward if reports or not self.circulation.over_d2d(m, round_index)]
        held = [self.held[name] for name in mine if self.held[name].weight > 0]
        await self.hand_up([self.announce(h, PURPOSE_UPDATE, round_index) for h in held], mine)
