"""The service Control, and its client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from hffm.v1 import control_pb2 as pb
from hffm.v1 import control_pb2_grpc as rpc
from hffm.v1.payload_pb2 import Manifest

from node.payload import Payload
from node.plan import CirculationChange
from node.wire.book import EventBook
from node.wire.circulating import change_of
from node.wire.pacing import CHUNK_BYTES
from node.wire.status import Context, answering


class Controlled(Protocol):
    """What the root offers to an orchestrator."""

    events: EventBook

    def report(self) -> pb.StatusReply: ...

    def start_rounds(self, count: int, change: CirculationChange | None, reason: str) -> int:
        """Index of the first round; BusyError while rounds run or before all are ready, ProtocolError for a change
        of circulation that is not possible now."""
        ...

    async def snapshot(self) -> Sequence[tuple[Manifest, Payload]]: ...

    def stop(self, reason: str) -> None: ...


class ControlService(rpc.ControlServicer):
    def __init__(self, root: Controlled) -> None:
        self._root = root

    async def Status(self, request: pb.StatusRequest, context: Context) -> pb.StatusReply:
        return self._root.report()

    async def StartRounds(self, request: pb.StartRoundsRequest, context: Context) -> pb.StartRoundsReply:
        async with answering(context):
            change = change_of(request.circulation) if request.HasField("circulation") else None
            first_round = self._root.start_rounds(request.count, change, request.reason)
            return pb.StartRoundsReply(first_round=first_round)
        raise AssertionError("answering ends the call")

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchReply]:
        async for number, event in self._root.events.since(request.next):
            yield pb.WatchReply(sequence=number, event=event)

    async def Snapshot(
        self, request: pb.SnapshotRequest, context: Context
    ) -> AsyncIterator[pb.SnapshotReply]:
        async with answering(context):
            for manifest, payload in await self._root.snapshot():
                yield pb.SnapshotReply(manifest=manifest)
                for chunk in payload.chunks(CHUNK_BYTES):
                    yield pb.SnapshotReply(chunk=bytes(chunk))

    async def Stop(self, request: pb.StopRequest, context: Context) -> pb.StopReply:
        self._root.stop(request.reason or "asked to")
        return pb.StopReply()
