"""The client of the service Control: what an orchestrator says to the root."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
from hffm.v1 import control_pb2 as pb
from hffm.v1 import control_pb2_grpc as rpc
from hffm.v1.payload_pb2 import Manifest

from node.errors import IdentityError, PayloadCorrupt
from node.plan import CirculationChange
from node.wire.channels import Channels
from node.wire.circulating import message_of
from node.wire.status import is_broken_connection, to_error
from node.wire.tls import Tls

_CALL_S = 10.0  # for calls that answer at once


class Operator:
    """Raises the root's refusals as they were raised there, and UnreachableError when nobody answers."""

    def __init__(self, root: str, address: str, tls: Tls | None = None) -> None:
        self._channels = Channels(tls)
        self._address = address
        self._stub = rpc.ControlStub(self._channels.to(address))
        self._target = f"'{root}' at {address}"

    async def status(self) -> pb.StatusReply:
        reply: pb.StatusReply = await self._ask(self._stub.Status(pb.StatusRequest(), timeout=_CALL_S))
        return reply

    async def is_up(self) -> bool:
        """Whether the root answers. Raises IdentityError where certificates are why it does not."""
        try:
            await self._stub.Status(pb.StatusRequest(), timeout=_CALL_S)
        except grpc.aio.AioRpcError as error:
            if is_broken_connection(error) or error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                if (why := await self._channels.why_not(self._address)) is not None:
                    raise IdentityError(f"{self._target}: {why}") from error
                return False
            raise to_error(error, self._target) from error
        return True

    async def start_rounds(
        self, count: int, change: CirculationChange | None = None, reason: str = ""
    ) -> int:
        """Index of the first round. `change`: how modules circulate from there on; `reason`: a JSON object."""
        request = pb.StartRoundsRequest(count=count, reason=reason)
        if change is not None:
            request.circulation.CopyFrom(message_of(change))
        reply = await self._ask(self._stub.StartRounds(request, timeout=_CALL_S))
        return int(reply.first_round)

    async def watch(self, first: int = 0) -> AsyncIterator[str]:
        """Events from number `first` on, as JSON, until the root ends."""
        try:
            async for reply in self._stub.Watch(pb.WatchRequest(next=first)):
                yield reply.event
        except grpc.aio.AioRpcError as error:
            raise to_error(error, self._target) from error

    async def snapshot(self) -> AsyncIterator[tuple[Manifest, bytes]]:
        """The final modules, each a safetensors file with its digest checked."""
        manifest, file = None, bytearray()
        try:
            async for reply in self._stub.Snapshot(pb.SnapshotRequest()):
                if reply.WhichOneof("part") == "chunk":
                    file += reply.chunk
                    continue
                if manifest is not None:
                    yield manifest, _checked(manifest, file)
                manifest, file = reply.manifest, bytearray()
        except grpc.aio.AioRpcError as error:
            raise to_error(error, self._target) from error
        if manifest is not None:
            yield manifest, _checked(manifest, file)

    async def stop(self, reason: str) -> None:
        await self._ask(self._stub.Stop(pb.StopRequest(reason=reason), timeout=_CALL_S))

    async def close(self) -> None:
        await self._channels.close()

    async def _ask(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            if is_broken_connection(error) and (why := await self._channels.why_not(self._address)):
                raise IdentityError(f"{self._target}: {why}") from error
            raise to_error(error, self._target) from error


def _checked(manifest: Manifest, file: bytearray) -> bytes:
    if hashlib.sha256(file).digest() != manifest.sha256:
        raise PayloadCorrupt(
            f"module '{manifest.module}' of '{manifest.sender}' arrived damaged: fetch it again"
        )
    return bytes(file)
