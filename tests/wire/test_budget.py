"""Room for payloads on their way in: reserved before it is taken, refused when there is none, and given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from hffm.v1 import exchange_pb2 as pb
from hffm.v1 import exchange_pb2_grpc as rpc

from node.wire.identity import identity
from node.wire.transfer import Transfers
from tests.wire.test_exchange import PAYLOAD, Shelf, outgoing, run


def test_what_does_not_fit_is_refused_until_the_room_is_given_back():
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        async def half() -> AsyncIterator[pb.PushRequest]:
            yield pb.PushRequest(manifest=outgoing(round=7, sender="d1").manifest)
            await asyncio.sleep(60)

        async with grpc.aio.insecure_channel(address) as channel:
            stub = rpc.ExchangeStub(channel)
            slow = stub.Push(half(), metadata=identity("d1"))
            await slow.read()  # accepted: it has the room
            other = stub.Push(iter([pb.PushRequest(manifest=outgoing().manifest)]), metadata=identity("d0"))
            assert await other.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await transfers.push("e0", address, [outgoing()])  # tries again until the slow one is cut off
            for number in range(1, 4):
                await transfers.push("e0", address, [outgoing(round=number)])
        assert shelf.counted == 4

    run(test, stall_s=1.5, inflight_bytes=PAYLOAD.size_bytes + 100)
