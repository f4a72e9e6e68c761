"""The service Exchange: payloads in, versions out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from hffm.v1 import exchange_pb2 as pb
from hffm.v1 import exchange_pb2_grpc as rpc
from hffm.v1.payload_pb2 import Manifest

from node.errors import ProtocolError, TransferStalled
from node.wire.identity import peer_of
from node.wire.intake import Intake, Landing, Receiver, Reception
from node.wire.pacing import Pacers
from node.wire.status import Context, answering


class ExchangeService(rpc.ExchangeServicer):
    def __init__(self, run_id: str, receiver: Receiver, pacers: Pacers, stall_s: float) -> None:
        self._run_id = run_id
        self._receiver = receiver
        self._pacers = pacers
        self._stall_s = stall_s
        self.intake = Intake(receiver)

    async def Push(self, request_iterator: AsyncIterator[pb.PushRequest], context: Context) -> None:
        async with answering(context):
            peer = peer_of(context)
            while (request := await self._next(context, peer)) is not None:
                if request.WhichOneof("part") != "manifest":
                    raise ProtocolError("a manifest comes before the bytes of a payload")
                await self._receive(request, context, peer)

    async def _receive(self, request: pb.PushRequest, context: Context, peer: str) -> None:
        manifest = request.manifest
        self._check_run(manifest.run_id)
        reception = self.intake.begin(manifest, request.resume, peer)
        total = manifest.size_bytes + manifest.padding_bytes
        trailed = manifest.size_bytes > 0 and not manifest.sha256
        offset = total if reception is None else reception.landing.received
        await context.write(pb.PushReply(accept=_accept(manifest, offset)))
        if reception is not None:
            await self._fill(reception, request.window_bytes, context, peer)
            trailer = await self._trailer(context, peer) if trailed else b""
            duplicate = await self.intake.finish(reception, trailer, peer)
        else:
            duplicate = True
            await self._discard(0 if request.resume else total, trailed, context, peer)
        receipt = pb.Receipt(module=manifest.module, sender=manifest.sender, duplicate=duplicate)
        await context.write(pb.PushReply(receipt=receipt))

    async def _fill(self, reception: Reception, window_bytes: int, context: Context, peer: str) -> None:
        landing, told = reception.landing, reception.landing.received
        while not landing.complete:
            self.intake.feed(reception, await self._chunk(context, peer))
            while not await landing.room(self._stall_s / 4):
                await context.write(_progress(landing))  # there is no room, but this side lives
            if window_bytes and landing.received - told >= window_bytes / 4:
                told = landing.received
                await context.write(_progress(landing))

    async def _discard(self, total: int, trailed: bool, context: Context, peer: str) -> None:
        """The sender of a duplicate did not wait for Accept and is sending already."""
        while total > 0:
            total -= len(await self._chunk(context, peer))
        if trailed:
            await self._trailer(context, peer)

    async def _trailer(self, context: Context, peer: str) -> bytes:
        request = await self._next(context, peer)
        if request is None or request.WhichOneof("part") != "trailer":
            raise ProtocolError(f"'{peer}' ended a payload without its digest")
        return request.trailer.sha256

    async def _chunk(self, context: Context, peer: str) -> bytes:
        request = await self._next(context, peer)
        if request is None or request.WhichOneof("part") != "chunk":
            raise ProtocolError(f"'{peer}' ended a payload before its announced length")
        if not request.chunk:
            raise ProtocolError(f"'{peer}' sent an empty chunk")
        return request.chunk

    async def _next(self, context: Context, peer: str) -> pb.PushRequest | None:
        try:
            async with asyncio.timeout(self._stall_s):
                request = await context.read()
        except TimeoutError:
            raise TransferStalled(f"nothing from '{peer}' for {self._stall_s:g} s: push again") from None
        return None if request is grpc.aio.EOF else request

    async def Pull(self, request: pb.PullRequest, context: Context) -> AsyncIterator[pb.PullReply]:
        async with answering(context):
            self._check_run(request.run_id)
            peer = peer_of(context)
            pacer = self._pacers.to(peer)
            transit = pacer.transit()
            for want in request.wants:
                manifest, payload = self._receiver.offer(want.module, want.sha256, peer)
                yield pb.PullReply(manifest=manifest)
                padding = manifest.padding_bytes
                for chunk in payload.chunks(pacer.chunk_bytes, want.offset, padding):
                    await transit.carry(len(chunk))
                    yield pb.PullReply(chunk=bytes(chunk))

    def _check_run(self, run_id: str) -> None:
        if run_id != self._run_id:
            raise ProtocolError(
                f"this node belongs to run '{self._run_id}', not '{run_id}': use its plan file"
            )


def _accept(manifest: Manifest, offset: int) -> pb.Accept:
    return pb.Accept(module=manifest.module, sender=manifest.sender, offset=offset)


def _progress(landing: Landing) -> pb.PushReply:
    manifest = landing.manifest
    said = pb.Progress(module=manifest.module, sender=manifest.sender, offset=landing.received)
    return pb.PushReply(progress=said)
