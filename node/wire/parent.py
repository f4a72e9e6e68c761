"""The child's side of membership: one session with its parent, opened again when it breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import grpc
from hffm.v1 import membership_pb2 as pb
from hffm.v1 import membership_pb2_grpc as rpc

from node import __version__
from node.errors import HffmError, IdentityError, LeaseExpired, Overloaded, UnreachableError
from node.log import NodeLog
from node.plan import Plan
from node.wire.channels import Channels
from node.wire.identity import identity
from node.wire.orders import Order, Orders
from node.wire.status import cut_off, is_broken_connection, to_error
from node.wire.unkept import UnkeptEvents

_PAUSE_S = 0.5  # between attempts to connect


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
        self._parent = parent.id
        self._channels = channels
        self._log = log
        self._statuses = statuses
        self._heard_at = time.monotonic()
        self._welcomed = False
        self._ready: pb.ChildMessage | None = None
        self.finished: Callable[[], int] = lambda: -1  # set by the role: the last round that it has done
        self.stopped = asyncio.Event()  # the parent said Stop
        self._greeted = asyncio.Event()  # on this connection
        self._wake = asyncio.Event()
        self._all_said = asyncio.Event()
        self._clock_warned = False
        self._reports: list[pb.ChildMessage] = []
        self.orders = Orders(plan.limits.lease_s)
        self.events = UnkeptEvents(self._speak)
        # Set by a device of a cluster.
        self.on_regroup: Callable[[pb.Regroup], None] = lambda regroup: None
        self.attempt: Callable[[], int] = lambda: 0

    # -- what the role says and hears ---------------------------------------------------------------------

    def ready(self, samples: dict[str, int]) -> None:
        self._ready = pb.ChildMessage(ready=pb.Ready(samples=samples))
        self._report(self._ready)

    def done(self, order: Order) -> None:
        if self.orders.mark_done(order):
            self._report(pb.ChildMessage(done=pb.Done(number=order.number)))

    def trouble(self, trouble: pb.Trouble) -> None:
        self._report(pb.ChildMessage(trouble=trouble))

    def failed(self, error: HffmError) -> None:
        name = type(error).__name__
        failed = pb.Failed(error=name, message=str(error))
        self._report(pb.ChildMessage(failed=failed))

    def hear_moved(self, peer: str) -> None:
        """The parent lives: bulk data moves, behind which its heartbeats may lie on a slow link."""
        if peer == self._parent:
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
        self.events.begin()
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
                self.events.forget(message.events_kept.before)
            elif body == "heartbeat":
                self._compare_clocks(message.heartbeat.sent_unix_s)
            elif body in ("run", "install", "collect"):
                repeated = self.orders.take(message.number, getattr(message, body))
                if repeated is not None:
                    self.done(repeated)

    def _meet(self, life: str) -> None:
        """A parent in a new life knows of no command that the one before it gave."""
        self._welcomed = True
        self._greeted.set()
        if self.orders.meet(life):
            self._reports = [r for r in self._reports if r.WhichOneof("body") != "done"]

    def _compare_clocks(self, parent_unix_s: float) -> None:
        apart_s = abs(time.time() - parent_unix_s)
        if apart_s > self._plan.limits.lease_s and not self._clock_warned:
            self._clock_warned = True
            self._log.emit(
                "warning",
                message=f"{self._target}: the clocks are {apart_s:.0f} s apart: times in the record of this "
                "node cannot be compared with the others'; set the clock, by NTP for instance",
            )

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
            while (batch := self.events.next_batch()) is not None:
                await call.write(pb.ChildMessage(events=batch))
            while self._reports:
                await call.write(self._reports[0])
                del self._reports[0]
                next_beat = 0.0  # a report changes what is to be said about this node
            if time.monotonic() >= next_beat:
                beat = pb.Heartbeat(sent_unix_s=time.time(), nodes=self._statuses())
                await call.write(pb.ChildMessage(heartbeat=beat))
                next_beat = time.monotonic() + self._plan.limits.heartbeat_s
            if self.events.unwritten or self._reports:
                continue
            self._all_said.set()
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_beat - time.monotonic())):
                    await self._wake.wait()


def hello(plan: Plan, node: str, life: str = "", finished: int = -1, attempt: int = 0) -> pb.ChildMessage:
    """What a child says first."""
    role = plan.node(node).role
    return pb.ChildMessage(
        hello=pb.Hello(
            run_id=plan.run_id,
            node=node,
            role=role,
            plan_sha256=plan.sha256,
            version=__version__,
            life=life,
            finished=finished,
            attempt=attempt,
        )
    )
