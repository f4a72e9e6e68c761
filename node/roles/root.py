"""The root of the tree: an aggregator whose commands come from an orchestrator."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hffm.v1.control_pb2 import StatusReply
from hffm.v1.payload_pb2 import Manifest

from node.errors import BusyError, HffmError
from node.payload import Payload
from node.plan import CirculationChange
from node.roles.aggregator import Aggregator
from node.wire.book import EventBook
from node.wire.circulating import check_change

MOST_ROUNDS = 10**6  # at a time


class Root:
    """State of the run; the service Control acts on it."""

    def __init__(self, aggregator: Aggregator, events: EventBook) -> None:
        self.events = events
        self._aggregator = aggregator
        aggregator.sync_events = events.sync
        self._state = "joining"
        self._failure: HffmError | None = None
        self._rounds_done = aggregator.finished + 1
        self._orders: asyncio.Queue[tuple[int, CirculationChange | None]] = asyncio.Queue()
        self.stopped = asyncio.Event()  # an orchestrator said Stop
        self.stop_reason = ""

    async def run(self) -> None:
        """Carries out orders until it is ended from outside."""
        try:
            await self._aggregator.family.all_ready()
            if self._rounds_done > 0:  # the children of a root in a new life may have missed its last result
                await self._aggregator.install_below(self._rounds_done - 1)
            if self._aggregator.ordered > self._rounds_done:
                self._state = "running"
                await self._rounds(self._aggregator.ordered - self._rounds_done, None)
            self._aggregator.phase = self._state = "ready"
            while True:
                await self._rounds(*await self._orders.get())
                self._aggregator.phase = self._state = "ready"
        except HffmError as error:
            self._fail(error)
            await self.stopped.wait()  # an orchestrator wants to know why, and to fetch the events

    async def _rounds(self, count: int, change: CirculationChange | None) -> None:
        first, end = self._rounds_done, self._rounds_done + count
        await self._aggregator.order(end, change)
        circulation, tier = self._aggregator.circulation, self._aggregator.node.tier
        while first < end:
            stride = circulation.stride(tier, end - first, first)
            await self._aggregator.run(first, stride)
            await self._aggregator.install_below(first + stride - 1)
            first += stride
            self._rounds_done = first

    async def keep_events(self) -> None:
        """Lets the nodes below forget the events that are kept here; runs as long as the node does."""
        family, limits = self._aggregator.family, self._aggregator.plan.limits
        while True:
            await asyncio.sleep(limits.heartbeat_s)
            heard = [(child.id, child.life, child.events_heard) for child in family.children.values()]
            await asyncio.to_thread(self.events.sync)
            for child, life, before in heard:
                if family.children[child].life == life:
                    family.events_kept(child, before)

    def _fail(self, error: HffmError) -> None:
        self._state, self._failure = "failed", error
        self._aggregator.phase = "failed"
        log = self._aggregator.log
        log.emit("failed", error=type(error).__name__, message=str(error), exit_code=error.exit_code)

    # -- Controlled ---------------------------------------------------------------------------------------

    def report(self) -> StatusReply:
        failed = self._failure
        return StatusReply(
            run_id=self._aggregator.plan.run_id,
            state=self._state,
            error=type(failed).__name__ if failed else "",
            message=str(failed) if failed else "",
            rounds_done=self._rounds_done,
            nodes=self._aggregator.statuses(),
        )

    def start_rounds(self, count: int, change: CirculationChange | None, reason: str) -> int:
        if not 1 <= count <= MOST_ROUNDS:
            raise BusyError(f"{count} rounds asked for: ask for 1 to {MOST_ROUNDS}")
        if self._state != "ready":
            raise BusyError(f"the run is {self._state}: rounds start when it is ready, see `hffm status`")
        if change is not None:
            check_change(self._aggregator.plan, change, self._rounds_done)
            log = self._aggregator.log
            log.emit("decided", round=change.first_round, periods=change.periods, reason=reason)
        self._state = "running"
        self._orders.put_nowait((count, change))
        return self._rounds_done

    async def snapshot(self) -> Sequence[tuple[Manifest, Payload]]:
        if self._state != "ready":
            raise BusyError(f"the run is {self._state}: modules are handed out when it is ready")
        self._state = "running"
        try:
            last = max(0, self._rounds_done - 1)
            found = await self._aggregator.collect(last)
        finally:
            self._state = "ready"
        return [(one.manifest, one.payload) for one in found if one.payload is not None]

    def stop(self, reason: str) -> None:
        self._state, self.stop_reason = "stopping", reason
        self.stopped.set()
