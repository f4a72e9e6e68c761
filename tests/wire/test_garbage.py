"""Bytes, orders of messages and numbers that no honest node sends: every call ends with a status of the tree, and
the node goes on as if nothing had been."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import grpc
import pytest
from hffm.v1 import control_pb2 as control
from hffm.v1 import exchange_pb2 as exchange
from hffm.v1 import membership_pb2 as membership
from hffm.v1.payload_pb2 import PURPOSE_UPDATE, Manifest

from node.errors import TABLE
from node.plan import Cluster
from node.wire.identity import identity
from node.wire.parent import hello
from tests.federation import FAST, Federation, federation, make_plan, module

PARENTS = {"cloud": None, "d0": "cloud", "d1": "cloud", "d2": "cloud"}
PLAN_LIMITS = FAST.model_copy(update={"stall_s": 1.0, "lease_s": 3.0, "refusals": 10**6})
STATUSES = {status for _, status in TABLE.values()}
PUSH, PULL = "/hffm.v1.Exchange/Push", "/hffm.v1.Exchange/Pull"
SESSION = "/hffm.v1.Membership/Session"
CONTROL = "/hffm.v1.Control/"
SHAPES = {
    PUSH: "stream_stream",
    PULL: "unary_stream",
    SESSION: "stream_stream",
    CONTROL + "Status": "unary_unary",
    CONTROL + "StartRounds": "unary_unary",
    CONTROL + "Watch": "unary_stream",
    CONTROL + "Snapshot": "unary_stream",
}
READING = (CONTROL + "Status", CONTROL + "Snapshot")  # their requests have no fields
BYTES = [
    b"\xff" * 50,
    b"\x0a\xff\xff\xff\xff\x0f",  # a length beyond the end
    b"\x0a\x05\x1a\x03\xff\xfe\xfd",  # text that is not UTF-8
    b"\x0a\x02" * 60_000,
    b"\x3a" * 2_000_000,
    b"\x0b" * 10_000,  # groups without an end
    b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",  # a number of eleven bytes
]


def plan():
    cluster = Cluster(parent="cloud", head="d0", edges=(("d0", "d1"), ("d1", "d2")))
    modules = (module("adapter", 1000, cluster=1, cloud=1),)
    return make_plan(PARENTS, {"cloud": "cloud"}, modules, clusters=(cluster,), limits=PLAN_LIMITS)


async def status_of(address: str, method: str, messages: Iterable[bytes], name: str = "d2") -> str:
    """Of a call with these raw messages."""
    shape = SHAPES[method]
    async with grpc.aio.insecure_channel(address) as channel:
        call = getattr(channel, shape)(method)
        sent = list(messages)
        request = iter(sent) if shape.startswith("stream") else (sent or [b""])[0]
        made = call(request, metadata=identity(name))
        try:
            async with asyncio.timeout(8):
                if shape.endswith("unary"):
                    await made
                else:
                    async for _ in made:
                        continue
        except grpc.aio.AioRpcError:
            pass
        except TimeoutError:
            return "NONE"
        return (await made.code()).name


Play = Callable[[Federation], Awaitable[None]]


def among(play: Play, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Two rounds, garbage, and two rounds more: nothing unhandled was logged by anybody."""
    unhandled: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: unhandled.append(str(context)))
        async with federation(plan(), monkeypatch) as running:
            await running.rounds(2)
            await play(running)
            await running.rounds(2)
            assert not running.kind("failed")

    with caplog.at_level(logging.ERROR):
        asyncio.run(main())
    assert not unhandled
    assert not [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


def test_bytes_that_are_no_messages(monkeypatch, caplog):
    async def play(running: Federation) -> None:
        cloud, device = running.plan.root.address, running.plan.node("d1").address
        tried = [(cloud, method) for method in SHAPES if method != CONTROL + "Watch"]
        for address, method in [*tried, (device, PUSH), (device, PULL)]:
            for data in BYTES:
                found = await status_of(address, method, [data])
                # Fields that the contract does not have are legal in protobuf, and are not looked at.
                allowed = STATUSES | ({"OK"} if method in READING else set())
                assert found in allowed, (method, data[:20], found)

    among(play, monkeypatch, caplog)


def manifest(**fields: object) -> bytes:
    usual = {"run_id": "test", "module": "adapter", "sender": "d2", "purpose": PURPOSE_UPDATE}
    return exchange.PushRequest(manifest=Manifest(**{**usual, **fields})).SerializeToString()


CHUNK = exchange.PushRequest(chunk=b"x" * 100).SerializeToString()
TRAILER = exchange.PushRequest(trailer=exchange.Trailer(sha256=b"x" * 32)).SerializeToString()


def test_pushes_out_of_order_and_out_of_range(monkeypatch, caplog):
    streams = [
        [],
        [CHUNK],
        [TRAILER],
        [b""],
        [manifest(weight=1.0), manifest()],
        [manifest(weight=float("nan"))],
        [manifest(weight=1.0, size_bytes=2**64 - 1, contributors=["d2"])],
        [manifest(round=2**32 - 1, attempt=2**32 - 1, step=2**32 - 1)],
        [manifest(round=1, attempt=0, step=9)],
        [manifest(sender="\u202e" * 1000, module="\x00\n")],
        [manifest(contributors=["d2"] * 10_000)],
        [manifest(padding_bytes=2**63)],
        [manifest(purpose=99)],
        [manifest(run_id="x" * 900_000)],
        [manifest(round=1), CHUNK, TRAILER],
    ]

    async def play(running: Federation) -> None:
        for node in ("cloud", "d1", "d0"):
            address = running.plan.node(node).address
            for name in ("d2", "nobody", "cloud", "\u00e9".encode().hex() * 100):
                for messages in streams:
                    found = await status_of(address, PUSH, messages, name)
                    allowed = STATUSES | ({"OK"} if not messages else set())
                    assert found in allowed, (node, name, messages[:1], found)

    among(play, monkeypatch, caplog)


def said(**body: object) -> bytes:
    return membership.ChildMessage(**body).SerializeToString()


def test_sessions_that_lie(monkeypatch, caplog):
    """As a stranger or as somebody else's child, so that the real children keep their sessions."""

    async def play(running: Federation) -> None:
        address = running.plan.root.address
        right = hello(running.plan, "d2").hello
        wrong = {
            "run_id": "other",
            "node": "d9",
            "role": "cloud",
            "plan_sha256": b"0" * 32,
        }
        for field, value in wrong.items():
            lie = membership.Hello()
            lie.CopyFrom(right)
            setattr(lie, field, value)
            assert await status_of(address, SESSION, [said(hello=lie)]) == "FAILED_PRECONDITION"
        for first in (said(ready=membership.Ready()), said(done=membership.Done(number=2**63)), b""):
            assert await status_of(address, SESSION, [first]) == "FAILED_PRECONDITION"

    among(play, monkeypatch, caplog)


LIES = [
    membership.ChildMessage(ready=membership.Ready(samples={"nothing": 1})),
    membership.ChildMessage(ready=membership.Ready(samples={"adapter": 2**64 - 1})),
    membership.ChildMessage(heartbeat=membership.Heartbeat(nodes=[membership.NodeStatus(node="d0")])),
    membership.ChildMessage(heartbeat=membership.Heartbeat(nodes=[membership.NodeStatus(node="d2")] * 9)),
    membership.ChildMessage(
        heartbeat=membership.Heartbeat(nodes=[membership.NodeStatus(node="d2", phase="x" * 10_000)])
    ),
    membership.ChildMessage(events=membership.EventBatch(events=["no event"])),
    membership.ChildMessage(events=membership.EventBatch(events=['{"node": "d0", "kind": "failed"}'])),
    membership.ChildMessage(events=membership.EventBatch(events=["[" * 100_000])),
]


@pytest.mark.parametrize("lie", LIES, ids=range(len(LIES)))
def test_a_child_that_lies_in_its_session_loses_it_and_the_others_go_on(lie, monkeypatch):
    limits = PLAN_LIMITS.model_copy(update={"quorum": 0.6})

    async def main() -> None:
        plan = make_plan(PARENTS, {"cloud": "cloud"}, (module("adapter", 100, cloud=1),), limits=limits)
        async with federation(plan, monkeypatch) as running:
            await running.rounds(1)
            messages = [hello(plan, "d2").SerializeToString(), lie.SerializeToString()]
            assert await status_of(plan.root.address, SESSION, messages) == "FAILED_PRECONDITION"
            await running.rounds(1)
            assert not [e for e in running.kind("failed") if e["node"] == "cloud"]

    asyncio.run(main())


def test_a_stream_that_never_ends_and_a_reader_that_never_reads(monkeypatch, caplog):
    async def play(running: Federation) -> None:
        address = running.plan.root.address

        async def forever() -> AsyncIterator[bytes]:
            while True:
                yield CHUNK
                await asyncio.sleep(0.01)

        async def silence() -> AsyncIterator[bytes]:
            yield manifest(weight=1.0)
            await asyncio.sleep(60)

        async with grpc.aio.insecure_channel(address) as channel:
            for requests in (forever(), silence()):
                call = channel.stream_stream(PUSH)(requests, metadata=identity("d2"))
                async with asyncio.timeout(8):
                    assert (await call.code()).name in STATUSES

    among(play, monkeypatch, caplog)


def test_control_refuses_numbers_that_are_none(monkeypatch, caplog):
    async def play(running: Federation) -> None:
        for count in (0, 2**32 - 1):
            request = control.StartRoundsRequest(count=count)
            found = await status_of(
                running.plan.root.address, CONTROL + "StartRounds", [request.SerializeToString()]
            )
            assert found == "FAILED_PRECONDITION"

    among(play, monkeypatch, caplog)
