"""Sending and fetching payloads, over broken connections too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import grpc
from hffm.v1 import exchange_pb2 as pb
from hffm.v1.payload_pb2 import Manifest

from node.errors import (
    BusyError,
    Overloaded,
    PayloadCorrupt,
    ProtocolError,
    TransferStalled,
    UnreachableError,
)
from node.payload import Payload, Values, largest_size_bytes
from node.plan import Module
from node.wire.channels import Channels
from node.wire.codec import ExchangeStub
from node.wire.identity import identity
from node.wire.landing import Partial
from node.wire.pacing import Pacer, Pacers
from node.wire.status import is_broken_connection, to_error
from node.wire.stream import Metadata, StageMaker, StreamJob

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True)
class Outgoing:
    """A payload and how it is announced; no payload for an empty update."""

    manifest: Manifest
    payload: Payload | None

    @property
    def total_bytes(self) -> int:
        return int(self.manifest.size_bytes + self.manifest.padding_bytes)


class Transfers:
    """The transfers that one node starts.

    A transfer fails when nothing has moved for `stall_s`, never for taking long.
    """

    def __init__(self, node: str, channels: Channels, pacers: Pacers, stall_s: float) -> None:
        self._node = node
        self._channels = channels
        self._pacers = pacers
        self._stall_s = stall_s
        self._moved_bytes = 0  # by jobs that have ended
        self._jobs: list[_Job] = []  # in progress
        # Set by the role: what it does about a sign of life of a peer.
        self.on_heard: Callable[[str], None] = lambda peer: None

    @property
    def moved_bytes(self) -> int:
        """Sent and fetched so far, repetitions included."""
        return self._moved_bytes + sum(job.moved_bytes for job in self._jobs)

    async def push(
        self, peer: str, address: str, outgoing: Sequence[Outgoing], resume: bool = False
    ) -> float:
        """Sends the payloads on one stream; seconds from the first byte to the last receipt.

        `resume`: an earlier push of the same payloads has failed, and the receiver may have a part of them.
        Raises the receiver's refusal as it was raised there, UnreachableError, or TransferStalled.
        """
        started = time.monotonic()
        await self._finish(_Push(list(outgoing), self._pacers.to(peer)), peer, address, resume)
        return time.monotonic() - started

    async def pull(self, peer: str, address: str, run_id: str, wants: Sequence[Want]) -> float:
        """Fills each `want.partial` with the version asked for, digest checked; seconds that it took."""
        started = time.monotonic()
        await self._finish(_Pull(run_id, list(wants)), peer, address)
        return time.monotonic() - started

    async def stream(self, peer: str, address: str, makers: Sequence[StageMaker]) -> StreamJob:
        """Sends payloads that may still be on their way in; the job says what was sent and in what time."""
        job = StreamJob(makers, self._pacers.to(peer))
        await self._finish(job, peer, address)
        return job

    async def _finish(self, job: _Job, peer: str, address: str, resume: bool = False) -> None:
        """Attempts the job until it is done, or nothing has moved for `stall_s`."""
        self._jobs.append(job)
        job.on_heard = lambda: self.on_heard(peer)
        try:
            await self._attempts(job, f"'{peer}' at {address}", address, resume)
        finally:
            self._jobs.remove(job)
            self._moved_bytes += job.moved_bytes

    async def _attempts(self, job: _Job, target: str, address: str, resume: bool) -> None:
        moved_at, pause_s = time.monotonic(), _FIRST_PAUSE_S
        while True:
            before = job.moved_bytes
            try:
                stub = ExchangeStub(self._channels.to(address))
                await self._watch(job, job.attempt(stub, identity(self._node), resume), target)
                return
            except grpc.aio.AioRpcError as error:
                refusal = to_error(error, target)
                # A receiver that is not there yet will be: it is asked again, for as long as a stall may take.
                early = isinstance(refusal, BusyError | Overloaded)
                if not (early or is_broken_connection(error)):
                    raise refusal from error
                if job.moved_bytes > before:
                    moved_at, pause_s = time.monotonic(), _FIRST_PAUSE_S
                if time.monotonic() - moved_at > self._stall_s:
                    if early:
                        raise refusal from error
                    why = await self._channels.why_not(address) or f"{error.details()}: is it running?"
                    raise UnreachableError(f"{target}: no answer for {self._stall_s:g} s: {why}") from error
            resume = True
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _watch(self, job: _Job, attempt: Coroutine[Any, Any, None], target: str) -> None:
        task = asyncio.ensure_future(attempt)
        try:
            while True:
                before = job.moved_bytes
                done, _ = await asyncio.wait({task}, timeout=self._stall_s)
                if done:
                    return task.result()
                if job.moved_bytes == before and not job.waits_here:
                    raise TransferStalled(f"{target}: no progress for {self._stall_s:g} s")
        finally:
            task.cancel()
            await asyncio.wait({task})


class _Job(Protocol):
    moved_bytes: int  # by all attempts: what the watch looks at
    waits_here: bool  # for something on this node, so that it is not the other side that stalls
    on_heard: Callable[[], None]  # something came from the other side

    async def attempt(self, stub: ExchangeStub, metadata: Metadata, resume: bool) -> None: ...


class _Push:
    """The first attempt sends without waiting; later ones ask from where on, and go step by step.

    That is also how a refusal is heard in full: one that comes while this side is still sending may reach it
    as a broken stream only.
    """

    def __init__(self, outgoing: list[Outgoing], pacer: Pacer) -> None:
        self.on_heard: Callable[[], None] = lambda: None
        self.moved_bytes = 0
        self.waits_here = False
        self._open = outgoing  # without a receipt yet
        self._pacer = pacer

    async def attempt(self, stub: ExchangeStub, metadata: Metadata, resume: bool) -> None:
        replies: asyncio.Queue[int] = asyncio.Queue()  # the offset of an Accept, or anything for a Receipt
        requests = self._requests(list(self._open), resume, replies)
        async for reply in stub.Push(requests, metadata=metadata):
            if reply.WhichOneof("part") == "receipt":
                self._open.pop(0)
            if reply.WhichOneof("part") != "progress":
                replies.put_nowait(reply.accept.offset)
            self.moved_bytes += 1
            self.on_heard()
        if self._open:
            raise ProtocolError("the receiver ended the stream without a receipt for each payload")

    async def _requests(
        self, outgoing: list[Outgoing], resume: bool, replies: asyncio.Queue[int]
    ) -> AsyncIterator[pb.PushRequest | memoryview]:
        transit = self._pacer.transit()
        for one in outgoing:
            yield pb.PushRequest(manifest=one.manifest, resume=resume)
            offset = await replies.get() if resume else 0
            padding = one.manifest.padding_bytes
            chunks = one.payload.chunks(self._pacer.chunk_bytes, offset, padding) if one.payload else ()
            for chunk in chunks:
                await transit.carry(len(chunk))
                yield chunk
                self.moved_bytes += len(chunk)
            if resume:
                await replies.get()


@dataclass
class Want:
    """A version to fetch and where it goes."""

    module: Module
    sha256: bytes
    values: Values | None = None  # once it is whole and checked
    total_bytes: int = 0  # of the file and its padding, once announced
    partial: Partial | None = field(default=None, repr=False)


class _Pull:
    def __init__(self, run_id: str, wants: list[Want]) -> None:
        self.on_heard: Callable[[], None] = lambda: None
        self.moved_bytes = 0
        self.waits_here = False
        self._run_id = run_id
        self._open = wants

    async def attempt(self, stub: ExchangeStub, metadata: Metadata, resume: bool) -> None:
        request = pb.PullRequest(run_id=self._run_id)
        for want in self._open:
            offset = want.partial.received if want.partial else 0
            request.wants.add(module=want.module.name, sha256=want.sha256, offset=offset)
        async for reply in stub.Pull(request, metadata=metadata):
            self.on_heard()
            if not self._open:
                raise PayloadCorrupt("more payloads than were asked for")
            if isinstance(reply, memoryview):
                self._feed(self._open[0], reply)
            else:
                self._begin(self._open[0], reply.manifest)
        if self._open:
            raise ProtocolError("the stream ended before every version had come")

    def _begin(self, want: Want, manifest: Manifest) -> None:
        asked = (want.module.name, want.sha256)
        if (manifest.module, manifest.sha256) != asked or manifest.size_bytes > largest_size_bytes(
            want.module
        ):
            raise PayloadCorrupt(f"module '{manifest.module}': not the version that was asked for")
        if want.partial is None:
            want.partial = Partial(manifest, want.module)
            want.total_bytes = want.partial.total

    def _feed(self, want: Want, chunk: memoryview) -> None:
        if want.partial is None:
            raise ProtocolError("a manifest comes before the bytes of a payload")
        want.partial.feed(chunk)
        self.moved_bytes += len(chunk)
        if want.partial.complete:
            want.values, want.partial = want.partial.finish(), None
            self._open.pop(0)
