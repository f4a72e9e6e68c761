"""Payloads over real gRPC on loopback, through connections that break and from senders that lie."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest
from hffm.v1 import exchange_pb2 as pb
from hffm.v1 import exchange_pb2_grpc as rpc
from hffm.v1.payload_pb2 import PURPOSE_UPDATE, Manifest
from safetensors.numpy import save

from node.errors import PayloadCorrupt, PayloadRefused, ProtocolError, UnreachableError
from node.log import NodeLog
from node.payload import Payload, Values
from node.plan import Module
from node.wire.budget import Budget
from node.wire.channels import Channels
from node.wire.codec import add_exchange
from node.wire.exchange import ExchangeService
from node.wire.identity import identity
from node.wire.landing import Key, Landing, Partial, key_of
from node.wire.pacing import Pacers
from node.wire.refusals import Refusals
from node.wire.server import serve
from node.wire.transfer import Outgoing, Transfers, Want
from tests.federation import free_ports, module

MODULE = module("adapter", 300_000)
VALUES = np.random.default_rng(0).normal(0, 1, 300_000).astype(np.float32)
PAYLOAD = Payload(MODULE, VALUES)


class Shelf:
    """A receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.got: dict[Key, Values] = {}
        self.counted = 0
        self.refuse: str | None = None
        self.excluded: list[str] = []

    def admit(self, manifest: Manifest, peer: str) -> Module:
        if self.refuse:
            raise PayloadRefused(self.refuse)
        return MODULE

    def land(self, manifest: Manifest, module: Module, peer: str) -> Landing:
        return Partial(manifest, module)

    def exclude(self, peer: str, reason: str) -> None:
        self.excluded.append(peer)

    def taken(self, key: Key) -> bool:
        return key in self.got

    async def take(self, manifest: Manifest, values: Values, peer: str) -> None:
        self.got[key_of(manifest)] = values
        self.counted += 1

    def offer(self, name: str, sha256: bytes, peer: str) -> tuple[Manifest, Payload]:
        if sha256 != PAYLOAD.sha256:
            raise PayloadRefused("not held")
        return outgoing().manifest, PAYLOAD


def outgoing(**fields: object) -> Outgoing:
    manifest = Manifest(
        run_id="test",
        module="adapter",
        sender="d0",
        purpose=PURPOSE_UPDATE,
        size_bytes=PAYLOAD.size_bytes,
        sha256=PAYLOAD.sha256,
        weight=3,
        contributors=["d0"],
    )
    for name, value in fields.items():
        setattr(manifest, name, value)
    return Outgoing(manifest, PAYLOAD)


@asynccontextmanager
async def exchange(
    stall_s: float = 5.0, inflight_bytes: int = 1 << 30
) -> AsyncIterator[tuple[Shelf, Transfers, str]]:
    shelf = Shelf()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    refusals = Refusals(NodeLog("e0"), {"d0", "d1"}, 5)
    service = ExchangeService("test", shelf, Pacers({}), stall_s, Budget(inflight_bytes), refusals)
    add = {"Exchange": lambda server: add_exchange(service, server)}
    server = await serve(address, add)
    channels = Channels()
    try:
        yield shelf, Transfers("d0", channels, Pacers({}), stall_s), address
    finally:
        await channels.close()
        await server.stop(0)


@asynccontextmanager
async def breaking(address: str, cut_after: list[int], downwards: bool = False) -> AsyncIterator[str]:
    """A TCP relay before `address` that breaks its connections after so many bytes, one after the other."""
    host, port = address.split(":")
    cuts = iter(cut_after)
    relays: list[asyncio.Task[None]] = []

    async def copy(src: asyncio.StreamReader, dst: asyncio.StreamWriter, allowed: int) -> None:
        while allowed > 0 and (data := await src.read(min(65536, allowed))):
            dst.write(data)
            await dst.drain()
            allowed -= len(data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relays.append(asyncio.current_task())  # type: ignore[arg-type]
        limit = next(cuts, 1 << 60)
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        up, down = (1 << 60, limit) if downwards else (limit, 1 << 60)
        ways = [copy(reader, up_writer, up), copy(up_reader, writer, down)]
        tasks = [asyncio.ensure_future(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for end in (writer, up_writer):
                end.transport.abort()
            await asyncio.gather(*tasks, return_exceptions=True)

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for one in relays:
            one.cancel()
        await asyncio.gather(*relays, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0)  # lets the transports close their sockets


def run(test: Callable[[Shelf, Transfers, str], object], **options: float) -> None:
    async def main() -> None:
        async with exchange(**options) as (shelf, transfers, address):
            await test(shelf, transfers, address)  # type: ignore[misc]

    asyncio.run(main())


def test_a_payload_arrives_as_it_left():
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        await transfers.push("e0", address, [outgoing(padding_bytes=100_000), outgoing(round=1)])
        assert [key.round for key in shelf.got] == [0, 1]
        assert all((values == VALUES).all() for values in shelf.got.values())

    run(test)


def test_a_broken_transfer_goes_on_where_it_broke():
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        async with breaking(address, [700_000, 300_000]) as relayed:
            await transfers.push("e0", relayed, [outgoing(), outgoing(round=1)])
        assert shelf.counted == 2
        assert (shelf.got[key_of(outgoing(round=1).manifest)] == VALUES).all()

    run(test)


def test_a_broken_pull_goes_on_where_it_broke():
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        want = Want(MODULE, PAYLOAD.sha256)
        async with breaking(address, [700_000, 300_000], downwards=True) as relayed:
            await transfers.pull("e0", relayed, "test", [want])
        assert want.values is not None
        assert (want.values == VALUES).all()

    run(test)


def test_a_repeated_push_is_answered_and_not_counted_again():
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        await transfers.push("e0", address, [outgoing()])
        await transfers.push("e0", address, [outgoing()])
        assert shelf.counted == 1

    run(test)


def test_a_refusal_reaches_the_sender_with_its_reason():
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        shelf.refuse = "round 3 is closed"
        with pytest.raises(PayloadRefused, match="round 3 is closed"):
            await transfers.push("e0", address, [outgoing()])
        with pytest.raises(PayloadRefused, match="not held"):
            await transfers.pull("e0", address, "test", [Want(MODULE, b"0" * 32)])
        with pytest.raises(ProtocolError, match="belongs to run 'test'"):
            await transfers.push("e0", address, [outgoing(run_id="other")])

    run(test)


def test_a_wrong_digest_is_not_taken():
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        with pytest.raises(PayloadCorrupt, match="digest"):
            await transfers.push("e0", address, [outgoing(sha256=b"x" * 32)])
        assert not shelf.got

    run(test)


def test_nobody_there():
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        nowhere = f"127.0.0.1:{free_ports(1)[0]}"
        with pytest.raises(UnreachableError, match=r"'e9' at .*is it running\?"):
            await transfers.push("e9", nowhere, [outgoing()])

    run(test, stall_s=0.5)


def test_a_sender_that_stalls_is_cut_off_and_others_are_not_held_up():
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        stalled = asyncio.Event()

        async def requests() -> AsyncIterator[pb.PushRequest]:
            yield pb.PushRequest(manifest=outgoing(round=7).manifest)
            await stalled.wait()

        async with grpc.aio.insecure_channel(address) as channel:
            call = rpc.ExchangeStub(channel).Push(requests(), metadata=identity("d1"))
            reading = asyncio.ensure_future(_drain(call))
            await transfers.push("e0", address, [outgoing()])
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await reading
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert shelf.counted == 1

    run(test, stall_s=0.5)


async def _drain(call: AsyncIterator[pb.PushReply]) -> None:
    async for _ in call:
        continue


THREE_BYTES = pb.PushRequest(manifest=Manifest(run_id="test", size_bytes=3))


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([pb.PushRequest(chunk=b"early")], "FAILED_PRECONDITION"),
        ([pb.PushRequest()], "FAILED_PRECONDITION"),
        (
            [THREE_BYTES, pb.PushRequest(chunk=b"1234")],
            "DATA_LOSS",
        ),
        (
            [THREE_BYTES, pb.PushRequest()],
            "FAILED_PRECONDITION",
        ),
        ([THREE_BYTES], "FAILED_PRECONDITION"),
    ],
    ids=["chunk first", "nothing", "too long", "not a chunk", "too short"],
)
def test_streams_out_of_order_end_with_a_status(parts, status):
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            call = rpc.ExchangeStub(channel).Push(iter(parts), metadata=identity("d1"))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await _drain(call)
            assert caught.value.code().name == status
        assert not shelf.got

    run(test)


def test_a_file_written_by_the_safetensors_library_is_taken():
    async def test(shelf: Shelf, transfers: Transfers, address: str) -> None:
        file = save({"b": VALUES[150_000:], "a": VALUES[:150_000]})
        manifest = outgoing(size_bytes=len(file), sha256=hashlib.sha256(file).digest()).manifest
        parts = [pb.PushRequest(manifest=manifest), *(_chunks(file))]
        async with grpc.aio.insecure_channel(address) as channel:
            await _drain(rpc.ExchangeStub(channel).Push(iter(parts), metadata=identity("d1")))
        assert (shelf.got[key_of(manifest)] == VALUES).all()

    run(test)


def _chunks(file: bytes) -> list[pb.PushRequest]:
    return [pb.PushRequest(chunk=file[i : i + 99_999]) for i in range(0, len(file), 99_999)]
