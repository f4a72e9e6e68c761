"""Sending payloads that are still on their way in: what a relay receives goes on chunk by chunk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

import grpc
from hffm.v1 import exchange_pb2 as pb
from hffm.v1.payload_pb2 import Manifest

from node.errors import ProtocolError
from node.payload import Payload
from node.waiting import Change
from node.wire.codec import Chunk, ExchangeStub
from node.wire.digest import announces_digest
from node.wire.pacing import CUT_BYTES, Pacer

WINDOW_CHUNKS = 16  # sent and not yet known to have arrived: what a relay keeps, with as much that came in
WINDOW_BYTES = WINDOW_CHUNKS * CUT_BYTES
_WAIT_S = 3600.0  # for a change; the watch over the transfer ends it sooner

# What a write into a call that has ended raises: why it ended is what the reader hears.
_CALL_ENDED = (grpc.aio.AioRpcError, asyncio.InvalidStateError)

Metadata = tuple[tuple[str, str], ...]
Chunks = AsyncIterator[tuple[Chunk, bool]]


class Stage(Protocol):
    """One payload of a stream."""

    manifest: Manifest

    def chunks(self, most_bytes: int, offset: int) -> Chunks:
        """The bytes from `offset` on, which has not been let go, and whether each had to be waited for."""
        ...

    def release(self, offset: int) -> None:
        """The receiver has everything before `offset`."""
        ...

    def trailer(self) -> bytes:
        """The digest, after the last byte; for a manifest without one."""
        ...


# Waits until a payload can be announced; asked again after a broken connection unless it has answered.
StageMaker = Callable[[], Awaitable[Stage]]


class WholeStage:
    """A payload that lies ready, or the padding of an empty one."""

    def __init__(self, manifest: Manifest, payload: Payload | None) -> None:
        self.manifest = manifest
        self._payload = payload

    async def chunks(self, most_bytes: int, offset: int) -> Chunks:
        padding_bytes = int(self.manifest.padding_bytes)
        if self._payload is not None:
            for chunk in self._payload.chunks(most_bytes, offset, padding_bytes):
                yield chunk, False
            return
        for at in range(offset, padding_bytes, most_bytes):
            yield bytes(min(most_bytes, padding_bytes - at)), False

    def release(self, offset: int) -> None:
        """Its bytes are the node's own, and stay."""

    def trailer(self) -> bytes:
        raise ProtocolError("a whole payload has its digest in the manifest")


class StreamJob:
    """One attempt after the other to send the stages, each from where the receiver has it."""

    def __init__(self, makers: Sequence[StageMaker], pacer: Pacer) -> None:
        self.on_heard: Callable[[], None] = lambda: None
        self.moved_bytes = 0
        self.sent_bytes = 0  # of payloads, each byte once
        self.airtime_s = 0.0  # of links that are held to their rates: for which the link was this stream's
        self.stalled_s = 0.0  # waited for what is to be sent, or for room where it goes
        self.queued_s = 0.0  # waited while the link carried other streams, where it is paced
        self.started = 0.0  # monotonic: when the first payload could be announced
        self.waits_here = False  # for what is to be sent, and not for the receiver
        self._makers = list(makers)
        self._stages: list[Stage] = []
        self._received = 0  # stages with a receipt
        self._pacer = pacer
        self._chunk_bytes = pacer.cut(CUT_BYTES)
        self._accepted: asyncio.Queue[int] = asyncio.Queue()
        self._arrived = 0  # bytes of the stage in progress that the receiver has
        self._change = Change()

    @property
    def manifests(self) -> list[Manifest]:
        return [stage.manifest for stage in self._stages]

    async def attempt(self, stub: ExchangeStub, metadata: Metadata, resume: bool) -> None:
        await self._stage(self._received)  # nothing is opened before there is something to say
        self.started = self.started or time.monotonic()
        self._accepted = asyncio.Queue()
        call = stub.Push(metadata=metadata)
        reader = asyncio.ensure_future(self._read(call))
        writer = asyncio.ensure_future(self._write(call, resume))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_EXCEPTION)
            if writer.done() and not writer.cancelled() and not isinstance(writer.exception(), _CALL_ENDED):
                writer.result()
            await reader  # says why the call ended, where the writer only saw that it had
            await writer
        finally:
            self.waits_here = False
            for task in (reader, writer):
                task.cancel()
            await asyncio.wait({reader, writer})
            call.cancel()
            if not writer.cancelled():
                writer.exception()  # looked at: the reader's is the one that counts

    async def _stage(self, index: int) -> Stage:
        if index == len(self._stages):
            began, self.waits_here = time.monotonic(), True
            self._stages.append(await self._makers[index]())
            self.waits_here = False
            if index > 0:
                self.stalled_s += time.monotonic() - began
        return self._stages[index]

    async def _read(self, call: grpc.aio.StreamStreamCall) -> None:
        async for reply in call:
            part = reply.WhichOneof("part")
            if part == "receipt":
                self._received += 1
            elif part == "accept":
                self._accepted.put_nowait(reply.accept.offset)
            elif part == "progress":
                self._arrived = max(self._arrived, reply.progress.offset)
                self._stages[self._received].release(self._arrived)
            self.moved_bytes += 1
            self.on_heard()
            self._change.happened()
        if self._received < len(self._makers):
            raise ProtocolError("the receiver ended the stream without a receipt for each payload")

    async def _write(self, call: grpc.aio.StreamStreamCall, resume: bool) -> None:
        transit, aired_s, queued_s = self._pacer.transit(), self.airtime_s, self.queued_s
        for index in range(self._received, len(self._makers)):
            stage = await self._stage(index)
            manifest = stage.manifest
            await call.write(pb.PushRequest(manifest=manifest, resume=resume, window_bytes=WINDOW_BYTES))
            # Only the first payload after a break can lie there in part.
            at = await self._accepted.get()
            self._arrived = at
            stage.release(at)
            chunks = stage.chunks(self._chunk_bytes, at)
            while (taken := await self._next(chunks)) is not None:
                chunk, late = taken
                await self._window(at + len(chunk))
                await transit.carry(len(chunk), late)
                await call.write(chunk)
                at += len(chunk)
                self.airtime_s = aired_s + transit.airtime_s
                self.queued_s = queued_s + transit.queued_s
                self.moved_bytes += len(chunk)
            if manifest.size_bytes and not announces_digest(manifest):
                await call.write(pb.PushRequest(trailer=pb.Trailer(sha256=stage.trailer())))
            while self._received <= index:
                await self._change.wait(_WAIT_S)
            stage.release(at)
            self.sent_bytes += at
        await call.done_writing()

    async def _next(self, chunks: Chunks) -> tuple[Chunk, bool] | None:
        began, self.waits_here = time.monotonic(), True
        found = await anext(chunks, None)
        self.waits_here = False
        if found is not None and found[1]:
            self.stalled_s += time.monotonic() - began
        return found

    async def _window(self, end: int) -> None:
        """Waits until no more than a window is under way."""
        began = time.monotonic()
        while end - self._arrived > WINDOW_BYTES:
            await self._change.wait(_WAIT_S)
        self.stalled_s += time.monotonic() - began
