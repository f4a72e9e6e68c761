"""The service Exchange: payloads in, versions out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import grpc
from hffm.v1 import exchange_pb2 as pb
from hffm.v1.payload_pb2 import Manifest

from node.errors import ProtocolError, TransferStalled
from node.wire.budget import Budget
from node.wire.codec import Chunk
from node.wire.digest import announces_digest
from node.wire.identity import peer_of
from node.wire.intake import Intake, Receiver, Reception
from node.wire.landing import Landing
from node.wire.pacing import Pacers
from node.wire.refusals import Refusals
from node.wire.status import Context, answering
from node.wire.turns import Turn, Turns

PushPart = pb.PushRequest | memoryview


class ExchangeService:
    def __init__(
        self,
        run_id: str,
        receiver: Receiver,
        pacers: Pacers,
        stall_s: float,
        budget: Budget,
        refusals: Refusals,
    ) -> None:
        self._run_id = run_id
        self._refusals = refusals
        self._receiver = receiver
        self._pacers = pacers
        # Set by a parent: what it does about bulk data that came from a peer, or went to it.
        self.on_moved: Callable[[str], None] = lambda peer: None
        self._stall_s = stall_s
        self.intake = Intake(receiver, budget, stall_s / 2)
        self._turns = Turns()

    async def Push(self, request_iterator: AsyncIterator[PushPart], context: Context) -> None:
        async with answering(context):
            peer = peer_of(context)
            stream = Incoming(context, peer, self._stall_s)
            with self._refusals.watching(peer, "Push"):
                while (part := await stream.next()) is not None:
                    if isinstance(part, memoryview) or part.WhichOneof("part") != "manifest":
                        raise ProtocolError("a manifest comes before the bytes of a payload")
                    await self._receive(part, stream)

    async def _receive(self, request: pb.PushRequest, stream: Incoming) -> None:
        manifest = request.manifest
        self._check_run(manifest.run_id)
        reception = await self.intake.begin(manifest, request.resume, stream.peer)
        duplicate = True
        if reception is None:
            total = manifest.size_bytes + manifest.padding_bytes
            await stream.say(_accept(manifest, total))
            await stream.discard(0 if request.resume else total, _trailed(manifest))
        else:
            try:
                duplicate = await self._take(reception, request.window_bytes, stream)
            finally:
                self.intake.leave(reception)
        receipt = pb.Receipt(module=manifest.module, sender=manifest.sender, duplicate=duplicate)
        await stream.say(pb.PushReply(receipt=receipt))

    async def _take(self, reception: Reception, window_bytes: int, stream: Incoming) -> bool:
        """True when it had been taken meanwhile."""
        manifest = reception.landing.manifest
        await stream.say(_accept(manifest, reception.landing.received))
        if window_bytes:  # it waits for its reader, and so takes no turn
            await self._fill(reception, window_bytes, stream)
        else:
            async with self._turns.one() as stream.turn:
                await self._fill(reception, 0, stream)
            stream.turn = None
        trailer = await stream.trailer() if _trailed(manifest) else b""
        return await self.intake.finish(reception, trailer, stream.peer)

    async def _fill(self, reception: Reception, window_bytes: int, stream: Incoming) -> None:
        landing, told, told_at = reception.landing, reception.landing.received, time.monotonic()
        while not landing.complete:
            self.intake.feed(reception, await stream.chunk())
            self.on_moved(stream.peer)
            while not await landing.room(self._stall_s / 4):
                await stream.say(_progress(landing))  # there is no room, but this side lives
            due = window_bytes and landing.received - told >= window_bytes / 4
            # What lies in the buffers of a slow link has left its sender, which sees nothing move but this.
            if due or time.monotonic() - told_at > self._stall_s / 8:
                told, told_at = landing.received, time.monotonic()
                await stream.say(_progress(landing))

    async def Pull(self, request: pb.PullRequest, context: Context) -> None:
        async with answering(context):
            peer = peer_of(context)
            with self._refusals.watching(peer, "Pull"):
                self._check_run(request.run_id)
                if len({want.module for want in request.wants}) < len(request.wants):
                    raise ProtocolError("a module is wanted twice in one call")
                await self._hand_out(request, context, peer)

    async def _hand_out(self, request: pb.PullRequest, context: Context, peer: str) -> None:
        pacer = self._pacers.to(peer)
        transit = pacer.transit()
        for want in request.wants:
            manifest, payload = self._receiver.offer(want.module, want.sha256, peer)
            await _say(context, pb.PullReply(manifest=manifest), self._stall_s)
            padding = manifest.padding_bytes
            for chunk in payload.chunks(pacer.chunk_bytes, want.offset, padding):
                await transit.carry(len(chunk))
                await _say(context, chunk, self._stall_s)
                self.on_moved(peer)

    def _check_run(self, run_id: str) -> None:
        if run_id != self._run_id:
            raise ProtocolError(
                f"this node belongs to run '{self._run_id}', not '{run_id}': use its plan file"
            )


class Incoming:
    """The parts that one peer pushes, one after the other."""

    def __init__(self, context: Context, peer: str, stall_s: float) -> None:
        self.context = context
        self.peer = peer
        self.turn: Turn | None = None
        self._stall_s = stall_s

    async def next(self) -> PushPart | None:
        """None at the end of the stream; raises TransferStalled when nothing comes."""
        try:
            if self.turn is not None:
                part = await self.turn.read(self.context.read(), self._stall_s)
            else:
                async with asyncio.timeout(self._stall_s):
                    part = await self.context.read()
        except TimeoutError:
            why = f"nothing from '{self.peer}' for {self._stall_s:g} s: push again"
            raise TransferStalled(why) from None
        return None if part is grpc.aio.EOF else part

    async def say(self, reply: pb.PushReply) -> None:
        await _say(self.context, reply, self._stall_s)

    async def chunk(self) -> memoryview:
        part = await self.next()
        if not isinstance(part, memoryview):
            raise ProtocolError(f"'{self.peer}' ended a payload before its announced length")
        if not part:
            raise ProtocolError(f"'{self.peer}' sent an empty chunk")
        return part

    async def trailer(self) -> bytes:
        part = await self.next()
        if not isinstance(part, pb.PushRequest) or part.WhichOneof("part") != "trailer":
            raise ProtocolError(f"'{self.peer}' ended a payload without its digest")
        return part.trailer.sha256

    async def discard(self, total: int, trailed: bool) -> None:
        """The sender of a duplicate did not wait for Accept and is sending already."""
        while total > 0:
            total -= len(await self.chunk())
        if trailed:
            await self.trailer()


async def _say(context: Context, reply: pb.PushReply | pb.PullReply | Chunk, timeout_s: float) -> None:
    """Raises TransferStalled when the other side does not read."""
    try:
        async with asyncio.timeout(timeout_s):
            await context.write(reply)
    except TimeoutError:
        raise TransferStalled(f"nothing was read for {timeout_s:g} s: call again") from None


def _trailed(manifest: Manifest) -> bool:
    """Whether the digest comes last."""
    return manifest.size_bytes > 0 and not announces_digest(manifest)


def _accept(manifest: Manifest, offset: int) -> pb.PushReply:
    accept = pb.Accept(module=manifest.module, sender=manifest.sender, offset=offset)
    return pb.PushReply(accept=accept)


def _progress(landing: Landing) -> pb.PushReply:
    manifest = landing.manifest
    said = pb.Progress(module=manifest.module, sender=manifest.sender, offset=landing.received)
    return pb.PushReply(progress=said)
