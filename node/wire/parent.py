"""The child's side of membership: one session with its parent, opened again when it breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import grpc
from hffm.v1 import membership_pb2 as pb
from hffm.v1 import membership_pb2_grpc as rpc

from node.errors import HffmError, LeaseExpired, UnreachableError
from node.log import Event, NodeLog, encode
from node.plan import Plan
from node.wire.channels import Channels
from node.wire.family import Command, hello
from node.wire.identity import identity
from node.wire.status import cut_off, is_broken_connection, to_error

_EVENTS_PER_BATCH = 500
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
        self._channels = channels
        self._log = log
        self._statuses = statuses
        self._heard_at = time.monotonic()
        self._welcomed = False
        self._ready: pb.ChildMessage | None = None
        self._obeyed = 0  # number of the last command taken
        self._done = 0  # number of the last command done, said again after a broken connection
        self._events: list[str] = []
        self.stopped = asyncio.Event()  # the parent said Stop
        self._wake = asyncio.Event()
        self._all_said = asyncio.Event()
        self._reports: list[pb.ChildMessage] = []
        self.on_regroup: Callable[[pb.Regroup], None] = lambda regroup: None  # set by a device of a cluster
        self._commands: asyncio.Queue[tuple[int, Command]] = asyncio.Queue()

    # -- what the role says and hears ---------------------------------------------------------------------

    def hear_event(self, event: Event) -> None:
        """A sink of the node's log."""
        self.relay_event(encode(event))

    def relay_event(self, encoded: str) -> None:
        self._events.append(encoded)
        self._speak()

    def ready(self, samples: dict[str, int]) -> None:
        self._ready = pb.ChildMessage(ready=pb.Ready(samples=samples))
        self._report(self._ready)

    def done(self, number: int) -> None:
        self._done = number
        self._report(pb.ChildMessage(done=pb.Done(number=number)))

    def trouble(self, trouble: pb.Trouble) -> None:
        self._report(pb.ChildMessage(trouble=trouble))

    def failed(self, error: HffmError) -> None:
        name = type(error).__name__
        failed = pb.Failed(error=name, message=str(error))
        self._report(pb.ChildMessage(failed=failed))

    async def commands(self) -> AsyncIterator[tuple[int, Command]]:
        """Numbered commands, in their order, without an end."""
        while True:
            yield await self._commands.get()

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
                if not is_broken_connection(error):
                    raise to_error(error, self._target) from error
                why = error.details() or error.code().name
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

    async def _converse(self) -> None:
        """One connection, until it breaks or the lease runs out."""
        call = rpc.MembershipStub(self._channels.to(self._address)).Session(metadata=identity(self._node))
        reader = asyncio.ensure_future(self._read(call))
        writer: asyncio.Future[None] | None = None
        try:
            await call.write(hello(self._plan, self._node))
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
                self._welcomed = True
            elif body == "stop":
                self.stopped.set()
            elif body == "regroup":
                self.on_regroup(message.regroup)
            elif body in ("run", "install", "collect"):
                self._obey(message.number, getattr(message, body))

    def _obey(self, number: int, command: Command) -> None:
        """Takes each command once; one that comes again and is done is answered again."""
        if number > self._obeyed:
            self._obeyed = number
            self._commands.put_nowait((number, command))
        elif number <= self._done:
            self.done(self._done)

    def _report(self, message: pb.ChildMessage) -> None:
        self._reports.append(message)
        self._speak()

    def _speak(self) -> None:
        self._all_said.clear()
        self._wake.set()

    async def _write(self, call: grpc.aio.StreamStreamCall) -> None:
        if self._ready is not None and self._ready not in self._reports:
            self._reports.insert(0, self._ready)
        next_beat = 0.0
        while True:
            while self._events:
                batch = self._events[:_EVENTS_PER_BATCH]
                await call.write(pb.ChildMessage(events=pb.EventBatch(events=batch)))
                del self._events[: len(batch)]
            while self._reports:
                await call.write(self._reports[0])
                del self._reports[0]
                next_beat = 0.0  # a report changes what is to be said about this node
            if time.monotonic() >= next_beat:
                beat = pb.Heartbeat(sent_unix_s=time.time(), nodes=self._statuses())
                await call.write(pb.ChildMessage(heartbeat=beat))
                next_beat = time.monotonic() + self._plan.limits.heartbeat_s
            if self._events or self._reports:
                continue
            self._all_said.set()
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_beat - time.monotonic())):
                    await self._wake.wait()
