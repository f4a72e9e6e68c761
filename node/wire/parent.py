"""The child's side of membership: one session with its parent, opened again when it breaks."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import grpc
from hffm.v1 import membership_pb2 as pb
from hffm.v1 import membership_pb2_grpc as rpc

from node.errors import HffmError, IdentityError, LeaseExpired, Overloaded, UnreachableError
from node.log import Event, NodeLog, encode
from node.plan import Plan
from node.waiting import Change
from node.wire.channels import Channels
from node.wire.family import Command, hello
from node.wire.identity import identity
from node.wire.status import cut_off, is_broken_connection, to_error

_EVENTS_PER_BATCH = 500
_PAUSE_S = 0.5  # between attempts to connect


@dataclass(frozen=True)
class Order:
    """A command of one life of the parent."""

    life: str
    number: int  # 0: it is not answered
    command: Command


@dataclass(frozen=True)
class _Said:
    """An event that the root may not have kept yet."""

    encoded: str
    child: str | None = None  # who said it, if not this node
    number: int = 0  # there


class ParentSession:
    """Commands come down, reports and events go up."""

    def __init__(
        self,
        plan: Plan,
        node: str,
        channels: Channels,
        log: NodeLog,
        statuses: Callable[[], list[pb.NodeStatus]],
    ) -> None:
        parent = plan.node(plan.node(node).parent or "")
        assert parent.address is not None
        self._plan = plan
        self._node = node
        self._target = f"parent '{parent.id}' at {parent.address}"
        self._address = parent.address
        self._channels = channels
        self._log = log
        self._statuses = statuses
        self._heard_at = time.monotonic()
        self._welcomed = False
        self._ready: pb.ChildMessage | None = None
        self._parent_life = ""
        self._obeyed = 0  # number of the last command taken
        self._done = 0  # number of the last command done, said again after a broken connection
        self._events: deque[_Said] = deque()  # not known to be kept
        self._events_kept = 0  # of this life
        self._events_next = 0  # number of the one to write next on this connection
        self.finished: Callable[[], int] = lambda: -1  # set by the role: the last round that it has done
        self.stopped = asyncio.Event()  # the parent said Stop
        self._greeted = asyncio.Event()  # on this connection
        self._wake = asyncio.Event()
        self._all_said = asyncio.Event()
        self._clock_warned = False
        self._reports: list[pb.ChildMessage] = []
        # Set by a device of a cluster.
        self.on_regroup: Callable[[pb.Regroup], None] = lambda regroup: None
        self.attempt: Callable[[], int] = lambda: 0
        self.on_kept: Callable[[str, int], None] = lambda child, before: None  # likewise, by a parent
        self._orders: deque[Order] = deque()
        self._ordered = Change()

    # -- what the role says and hears ---------------------------------------------------------------------

    def hear_event(self, event: Event) -> None:
        """A sink of the node's log."""
        self._say(_Said(encode(event)))

    def relay_event(self, encoded: str, child: str | None = None, number: int = 0) -> None:
        """Of a child, or of an earlier life of this node."""
        self._say(_Said(encoded, child, number))

    def own_events(self) -> tuple[str, ...]:
        """Those of this node that the root may not have kept: the children keep theirs themselves."""
        return tuple(one.encoded for one in tuple(self._events) if one.child is None)

    def _say(self, said: _Said) -> None:
        self._events.append(said)
        self._speak()

    def ready(self, samples: dict[str, int]) -> None:
        self._ready = pb.ChildMessage(ready=pb.Ready(samples=samples))
        self._report(self._ready)

    def done(self, order: Order) -> None:
        if order.number and order.life == self._parent_life:
            self._done = max(self._done, order.number)
            self._report(pb.ChildMessage(done=pb.Done(number=self._done)))

    def trouble(self, trouble: pb.Trouble) -> None:
        self._report(pb.ChildMessage(trouble=trouble))

    def failed(self, error: HffmError) -> None:
        name = type(error).__name__
        failed = pb.Failed(error=name, message=str(error))
        self._report(pb.ChildMessage(failed=failed))

    async def orders(self) -> AsyncIterator[Order]:
        """Commands in their order, without an end. What was told before an Install is out of date."""
        while True:
            while not self._orders:
                await self._ordered.wait(self._plan.limits.lease_s)
            yield self._orders.popleft()

    def hear(self) -> None:
        """The parent lives: bulk data came from it, or went to it."""
        self._heard_at = time.monotonic()

    async def flushed(self, timeout_s: float) -> None:
        """Waits until everything said has been handed to the connection, or the time is up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._all_said.wait()

    # -- the session --------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps the session open; raises LeaseExpired or UnreachableError when the parent is gone."""
        limits = self._plan.limits
        warned = False
        while True:
            why = "it closed the session"
            try:
                await self._converse()
            except grpc.aio.AioRpcError as error:
                why = await self._why(error)
            silent_s = time.monotonic() - self._heard_at
            if not warned:
                patience_s = limits.lease_s if self._welcomed else limits.connect_s
                self._log.emit("warning", message=f"{self._target}: {why}; trying for {patience_s:g} s")
                warned = True
            if self._welcomed and silent_s > limits.lease_s:
                raise LeaseExpired(f"{self._target}: not heard of for {silent_s:.0f} s ({why})")
            if not self._welcomed and silent_s > limits.connect_s:
                raise UnreachableError(
                    f"{self._target}: no answer for {limits.connect_s:g} s ({why}): is it running, "
                    "and is its address in the plan reachable from here?"
                )
            await asyncio.sleep(_PAUSE_S)

    async def _why(self, error: grpc.aio.AioRpcError) -> str:
        """Why the session broke, where it is worth another attempt; raises what is not."""
        refusal = to_error(error, self._target)
        if not is_broken_connection(error) and not isinstance(refusal, Overloaded):
            raise refusal from error
        certificate = await self._channels.why_not(self._address)
        if certificate is not None and not self._welcomed:
            raise IdentityError(f"{self._target}: {certificate}") from error
        return certificate or error.details() or error.code().name

    async def _converse(self) -> None:
        """One connection, until it breaks or the lease runs out."""
        self._events_next = self._events_kept
        self._greeted = asyncio.Event()
        call = rpc.MembershipStub(self._channels.to(self._address)).Session(metadata=identity(self._node))
        reader = asyncio.ensure_future(self._read(call))
        writer: asyncio.Future[None] | None = None
        try:
            await call.write(hello(self._plan, self._node, self._log.life, self.finished(), self.attempt()))
            writer = asyncio.ensure_future(self._write(call))
            while True:
                patience_s = self._plan.limits.lease_s if self._welcomed else self._plan.limits.connect_s
                left_s = self._heard_at + patience_s - time.monotonic()
                done, _ = await asyncio.wait({reader}, timeout=max(0.0, left_s))
                if done:
                    return reader.result()
                if time.monotonic() - self._heard_at > patience_s:
                    return None
        finally:
            call.cancel()
            await cut_off(reader)
            if writer is not None:
                await cut_off(writer)

    async def _read(self, call: grpc.aio.StreamStreamCall) -> None:
        async for message in call:
            self._heard_at = time.monotonic()
            body = message.WhichOneof("body")
            if body == "welcome":
                self._meet(message.welcome.life)
            elif body == "stop":
                self.stopped.set()
            elif body == "regroup":
                self.on_regroup(message.regroup)
            elif body == "events_kept":
                self._forget_events(message.events_kept.before)
            elif body == "heartbeat":
                self._compare_clocks(message.heartbeat.sent_unix_s)
            elif body in ("run", "install", "collect"):
                self._obey(Order(self._parent_life, message.number, getattr(message, body)))

    def _meet(self, life: str) -> None:
        """A parent in a new life knows of no command that the one before it gave."""
        self._welcomed = True
        self._greeted.set()
        if life != self._parent_life:
            self._parent_life = life
            self._obeyed = self._done = 0
            self._orders.clear()
            self._reports = [r for r in self._reports if r.WhichOneof("body") != "done"]

    def _obey(self, order: Order) -> None:
        """Takes each command once; one that comes again and is done is answered again."""
        if order.number == 0 or order.number > self._obeyed:
            self._obeyed = max(self._obeyed, order.number)
            if order.number and isinstance(order.command, pb.Install):
                self._orders.clear()  # this node is late: rounds that are over are not done any more
            self._orders.append(order)
            self._ordered.happened()
        elif order.number <= self._done:
            self.done(order)

    def _forget_events(self, before: int) -> None:
        children: dict[str, int] = {}
        while self._events_kept < before and self._events:
            said = self._events.popleft()
            self._events_kept += 1
            if said.child is not None:
                children[said.child] = said.number + 1
        self._events_next = max(self._events_next, self._events_kept)
        for child, number in children.items():
            self.on_kept(child, number)

    def _compare_clocks(self, parent_unix_s: float) -> None:
        apart_s = abs(time.time() - parent_unix_s)
        if apart_s > self._plan.limits.lease_s and not self._clock_warned:
            self._clock_warned = True
            self._log.emit(
                "warning",
                message=f"{self._target}: the clocks are {apart_s:.0f} s apart: times in the record of this "
                "node cannot be compared with the others'; set the clock, by NTP for instance",
            )

    def _unwritten(self) -> list[str]:
        start = self._events_next - self._events_kept
        return [one.encoded for one in islice(tuple(self._events), start, start + _EVENTS_PER_BATCH)]

    def _report(self, message: pb.ChildMessage) -> None:
        self._reports.append(message)
        self._speak()

    def _speak(self) -> None:
        self._all_said.clear()
        self._wake.set()

    async def _write(self, call: grpc.aio.StreamStreamCall) -> None:
        await self._greeted.wait()  # what was done for one life of the parent is not told to the next
        if self._ready is not None and self._ready not in self._reports:
            self._reports.insert(0, self._ready)
        next_beat = 0.0
        while True:
            while batch := self._unwritten():
                first = self._events_next
                self._events_next += len(batch)
                await call.write(pb.ChildMessage(events=pb.EventBatch(events=batch, first=first)))
            while self._reports:
                await call.write(self._reports[0])
                del self._reports[0]
                next_beat = 0.0  # a report changes what is to be said about this node
            if time.monotonic() >= next_beat:
                beat = pb.Heartbeat(sent_unix_s=time.time(), nodes=self._statuses())
                await call.write(pb.ChildMessage(heartbeat=beat))
                next_beat = time.monotonic() + self._plan.limits.heartbeat_s
            if self._unwritten() or self._reports:
                continue
            self._all_said.set()
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_beat - time.monotonic())):
                    await self._wake.wait()
