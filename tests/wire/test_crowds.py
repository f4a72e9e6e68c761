"""Crowds at the door: more connections and calls than a node takes, from clients that know only gRPC and names."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hffm.v1 import exchange_pb2 as exchange
from hffm.v1 import exchange_pb2_grpc as exchange_rpc
from hffm.v1.payload_pb2 import PURPOSE_UPDATE, Manifest

from node.wire.channels import SERVER_OPTIONS
from node.wire.door import CALLS_PER_PEER, CONNECTIONS_PER_PEER
from tests.federation import FAST, Federation, federation, make_plan, module
from tests.processes import in_processes
from tests.wire.certificates import Office, raw_channel

PUSH, SESSION = "/hffm.v1.Exchange/Push", "/hffm.v1.Membership/Session"
STAR = {"cloud": None, "d0": "cloud", "d1": "cloud"}
ROOM_MB = 64  # that a node may grow by under all this; 16 when this was written


def star() -> Any:
    return make_plan(STAR, {"cloud": "cloud"}, (module(cloud=1),), limits=FAST)


def own_connection(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


def open_calls(channel: grpc.aio.Channel, method: str, count: int) -> list[grpc.aio.StreamStreamCall]:
    """Raw bytes and no message, so that the server waits for one."""
    return [channel.stream_stream(method)(metadata=(("hffm-node", "nobody"),)) for _ in range(count)]


async def answers(calls: list[grpc.aio.StreamStreamCall], wait_s: float = 5.0) -> Counter[str]:
    """How those ended that did."""
    tasks = [asyncio.ensure_future(call.code()) for call in calls]
    done, pending = await asyncio.wait(tasks, timeout=wait_s)
    for task in pending:
        task.cancel()
    return Counter(task.result().name for task in done)


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def serves(address: str) -> bool:
    """Whether a stranger gets an answer."""
    async with own_connection(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        reply = await check(health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True)
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


async def _many_calls(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    address = running.plan.root.address or ""
    await running.rounds(1)
    before = resident_mb(pids["cloud"])
    channels = [own_connection(address) for _ in range(300)]
    calls = [c for channel in channels for c in open_calls(channel, PUSH, 2)]
    calls += open_calls(channels[0], SESSION, 100)
    refused = await answers(calls)
    await running.rounds(3)
    grown_mb = resident_mb(pids["cloud"]) - before
    for channel in channels:
        await channel.close()
    return {
        "refused": dict(refused),
        "missing": [e["missing"] for e in running.kind("round")],
        "grown_mb": grown_mb,
        "serves": await serves(address),
        "calls": len(calls),
    }


def test_a_flood_of_calls_is_refused_while_the_children_go_on():
    found = in_processes(star(), _many_calls)
    assert found["missing"] == [[]] * 4
    assert found["refused"]["RESOURCE_EXHAUSTED"] >= found["calls"] - 2 * CALLS_PER_PEER
    assert found["serves"]
    assert found["grown_mb"] < ROOM_MB


async def _silent_connections(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    """Connected, and never a word, or half of one."""
    address = running.plan.root.address or ""
    host, port = address.split(":")
    await running.rounds(1)
    before = resident_mb(pids["cloud"])
    with ExitStack() as stack:
        for i in range(900):
            silent = stack.enter_context(socket.create_connection((host, int(port))))
            if i % 3:
                silent.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[: i % 24])  # of the preface (RFC 9113, 3.4)
        await running.rounds(3)
        served = await serves(address)
        grown_mb = resident_mb(pids["cloud"]) - before
    return {"missing": [e["missing"] for e in running.kind("round")], "serves": served, "grown_mb": grown_mb}


def test_silent_connections_do_not_keep_others_out():
    found = in_processes(star(), _silent_connections)
    assert found["missing"] == [[]] * 4
    assert found["serves"]
    assert found["grown_mb"] < ROOM_MB


async def _siege(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    """In a child's name: manifests of megabytes, payloads of which only the beginning comes, and versions that are
    asked for and never read."""
    plan, address = running.plan, running.plan.root.address or ""
    await running.rounds(1)
    before = resident_mb(pids["cloud"])
    (version,) = [e["sha256"] for e in running.kind("aggregated")]
    name, me = plan.modules[0].name, (("hffm-node", "d1"),)
    want = exchange.PullRequest(run_id=plan.run_id)
    want.wants.add(module=name, sha256=bytes.fromhex(version))
    channels = [own_connection(address) for _ in range(8)]
    calls: list[Any] = []
    for channel in channels:
        stub = exchange_rpc.ExchangeStub(channel)
        calls += [stub.Pull(want, metadata=me) for _ in range(8)]
        for size_bytes, contributors in (
            (2**62, ["d1"]),
            (4_000_100, ["d1"]),
            (4_000_100, ["x" * 1000] * 4000),
        ):
            manifest = Manifest(
                run_id=plan.run_id, round=1, module=name, sender="d1", purpose=PURPOSE_UPDATE, weight=1.0,
                size_bytes=size_bytes, sha256=b"1" * 32, contributors=contributors,
            )  # fmt: skip
            call = stub.Push(metadata=me)
            calls.append(call)
            with suppress(grpc.RpcError, asyncio.InvalidStateError):
                await call.write(exchange.PushRequest(manifest=manifest))
                await call.write(exchange.PushRequest(chunk=bytes(1 << 20)))
    refused = await answers(calls, 2.0)
    during_mb = resident_mb(pids["cloud"]) - before
    await running.rounds(2)
    after_mb = resident_mb(pids["cloud"]) - before
    for channel in channels:
        await channel.close()
    return {
        "refused": dict(refused),
        "grown_mb": max(during_mb, after_mb),
        "contributors": [e["contributors"] for e in running.kind("aggregated")],
        "serves": await serves(address),
    }


def test_a_siege_in_a_childs_name_takes_little_memory_and_the_others_go_on():
    plan = make_plan(
        STAR,
        {"cloud": "cloud"},
        (module(size=1_000_000, cloud=1),),
        limits=FAST.model_copy(update={"quorum": 0.5}),
    )
    found = in_processes(plan, _siege)
    assert found["refused"].keys() >= {"INVALID_ARGUMENT"}
    assert all("d0" in devices for devices in found["contributors"])
    assert len(found["contributors"]) == 3
    assert found["serves"]
    assert found["grown_mb"] < ROOM_MB + 3 * 12  # sums and versions of 4 MB that rounds need


def test_one_device_cannot_take_up_what_belongs_to_the_others(tmp_path, monkeypatch):
    """By its certificate it is one and the same, over however many connections."""
    plan = star()
    office = Office(plan, tmp_path / "certs")

    async def main() -> None:
        async with federation(plan, monkeypatch, office.folder) as running:
            await running.rounds(1)
            address = plan.root.address or ""
            name = "cloud.cloud.test.hffm.internal"
            one = raw_channel(address, office.files("d1"), name)
            calls = [one.stream_stream(PUSH)() for _ in range(CALLS_PER_PEER + 20)]
            refused = await answers(calls, 2.0)
            assert refused == {"RESOURCE_EXHAUSTED": refused["RESOURCE_EXHAUSTED"]}
            assert refused["RESOURCE_EXHAUSTED"] == 20
            said = {await call.details() for call in calls if call.done()}
            assert said == {"'d1' has 64 calls of hffm.v1.Exchange open at 'cloud': end some first"}
            await one.close()
            own = [("grpc.use_local_subchannel_pool", 1)]
            many = [
                raw_channel(address, office.files("d1"), name, own) for _ in range(2 * CONNECTIONS_PER_PEER)
            ]
            refused = await answers([channel.stream_stream(PUSH)() for channel in many], 3.0)
            assert refused["RESOURCE_EXHAUSTED"] >= CONNECTIONS_PER_PEER
            d0 = [e["round"] for e in running.kind("phase") if e["node"] == "d0" and e["phase"] == "train"]
            for channel in many:
                await channel.close()
            await running.rounds(2)
            assert [e["missing"] for e in running.kind("round")] == [[]] * 3
            assert d0 == [0]

    asyncio.run(main())


def test_connections_beyond_the_limit_are_closed_and_those_that_are_there_stay(tmp_path, monkeypatch):
    """Of people without a certificate, too, who get no further than half a handshake."""
    monkeypatch.setattr("node.wire.server._MOST_CONNECTIONS", 40)
    plan = star()
    office = Office(plan, tmp_path / "certs")
    host, port = (plan.root.address or "").split(":")

    async def main() -> None:
        async with federation(plan, monkeypatch, office.folder) as running:
            await running.rounds(1)
            with ExitStack() as stack:
                silent = [
                    stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(100)
                ]
                for one in silent:
                    one.settimeout(5.0)
                ended = [await asyncio.to_thread(one.recv, 1) for one in silent[-50:]]
                assert ended == [b""] * 50
                await running.rounds(2)
            assert [e["missing"] for e in running.kind("round")] == [[]] * 3

    asyncio.run(main())


def test_half_a_handshake_has_an_end(tmp_path, monkeypatch):
    """Of one who sends a byte of TLS now and then, and never gets anywhere."""
    quick = [(k, 500 if k == "grpc.server_handshake_timeout_ms" else v) for k, v in SERVER_OPTIONS]
    monkeypatch.setattr("node.wire.server.SERVER_OPTIONS", quick)
    plan = star()
    office = Office(plan, tmp_path / "certs")
    host, port = (plan.root.address or "").split(":")

    async def main() -> None:
        async with federation(plan, monkeypatch, office.folder) as running:
            await running.until("ready")
            reader, writer = await asyncio.open_connection(host, int(port))
            async with asyncio.timeout(20):
                for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 100:
                    writer.write(bytes([byte]))
                    if reader.at_eof() or writer.is_closing():
                        break
                    await asyncio.sleep(0.1)
                with suppress(ConnectionError):
                    assert await reader.read() == b""
            writer.close()
            await running.rounds(1)

    asyncio.run(main())


def test_metadata_have_a_size(monkeypatch):
    plan = star()

    async def main() -> None:
        async with federation(plan, monkeypatch) as running:
            await running.until("ready")
            async with own_connection(plan.root.address or "") as channel:
                call = channel.stream_stream(PUSH)(metadata=(("hffm-node", "d" * 40_000),))
                assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await running.rounds(1)

    asyncio.run(main())
