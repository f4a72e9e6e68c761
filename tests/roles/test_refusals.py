"""Children that lie: what they push is refused with a status and a reason, logged, and in the end they are out."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import pytest
from hffm.v1 import exchange_pb2 as pb
from hffm.v1 import exchange_pb2_grpc as rpc
from hffm.v1.payload_pb2 import PURPOSE_AGGREGATE, PURPOSE_SNAPSHOT, PURPOSE_UPDATE, Manifest

from node.errors import AccessDenied
from node.learning.learner import Trained
from node.payload import Payload, Values
from node.plan import Plan
from node.wire.channels import Channels
from node.wire.identity import identity
from tests.federation import FAST, ArithmeticLearner, Federation, federation, make_plan, module

DEVICES = [f"d{i}" for i in range(5)]
STAR = {"cloud": None, **dict.fromkeys(DEVICES, "cloud")}


def star(**limits: Any) -> Plan:
    modules = (module("adapter", 1000, cloud=1), module("private", 10))
    return make_plan(STAR, {"cloud": "cloud"}, modules, limits=FAST.model_copy(update=limits))


class Diverging(ArithmeticLearner):
    """What d4 trains is not finite."""

    def train(self, modules: Mapping[str, Values], round_index: int) -> Trained:
        trained = super().train(modules, round_index)
        if self._device == "d4":
            trained.modules["adapter"][3] = np.nan
        return trained


class Slow(ArithmeticLearner):
    """Gives the test time to be faster."""

    def train(self, modules: Mapping[str, Values], round_index: int) -> Trained:
        import time

        time.sleep(0.7)
        return super().train(modules, round_index)


def test_who_is_refused_again_and_again_is_excluded_and_the_others_go_on(monkeypatch):
    async def play() -> list[dict]:
        plan = star(refusals=3, quorum=0.8)
        async with federation(plan, monkeypatch, learner=Diverging) as running:
            await running.rounds(5)
            with pytest.raises(AccessDenied, match="'d4' is excluded from this run"):
                await running.tasks.pop("d4")
            return running.events

    events = asyncio.run(play())
    refused = [e for e in events if e["kind"] == "refused" and e["error"] == "PayloadRefused"]
    assert [(e["node"], e["peer"], e["count"]) for e in refused] == [("cloud", "d4", n) for n in (1, 2, 3)]
    assert "not all finite" in refused[0]["message"]
    excluded = next(e for e in events if e["kind"] == "excluded")
    assert (excluded["peer"], "3 of its payloads were refused" in excluded["reason"]) == ("d4", True)
    contributors = [
        e["contributors"] for e in events if e["kind"] == "aggregated" and e["module"] == "adapter"
    ]
    assert contributors == [["d0", "d1", "d2", "d3"]] * 5


NAN = np.full(1000, np.nan, np.float32)


@pytest.mark.parametrize(
    ("fields", "values", "status", "why"),
    [
        ({"weight": float("nan")}, None, "INVALID_ARGUMENT", "impossible weight"),
        ({"weight": -1.0}, None, "INVALID_ARGUMENT", "impossible weight"),
        ({"weight": 1e300}, None, "INVALID_ARGUMENT", "impossible weight"),
        ({"weight": 2.0**40}, None, "INVALID_ARGUMENT", "the data have 1200 samples"),
        ({"weight": 1000.0}, None, "INVALID_ARGUMENT", "has declared"),
        ({"weight": 0.0}, None, "INVALID_ARGUMENT", "all there or none"),
        ({"contributors": ["d1"]}, None, "INVALID_ARGUMENT", "'d1' is not below 'd0'"),
        ({"contributors": ["d0", "d0"]}, None, "INVALID_ARGUMENT", "twice"),
        ({"contributors": ["cloud"]}, None, "INVALID_ARGUMENT", "'cloud' is not below"),
        ({"contributors": ["d0"] * 100_000}, None, "INVALID_ARGUMENT", "100000 contributors"),
        ({"sender": "d1"}, None, "INVALID_ARGUMENT", "may not push as 'd1'"),
        ({"module": "unknown"}, None, "INVALID_ARGUMENT", "not in the plan"),
        ({"module": "x" * 5_000_000}, None, "FAILED_PRECONDITION", "a message of 5000"),
        ({"module": "private"}, None, "INVALID_ARGUMENT", "bytes announced|not averaged here"),
        ({"round": 7000}, None, "FAILED_PRECONDITION", "is early"),
        ({"round": 2**32 - 1}, None, "FAILED_PRECONDITION", "is early"),
        ({"attempt": 1}, None, "INVALID_ARGUMENT", "leave them 0"),
        ({"step": 2**31}, None, "INVALID_ARGUMENT", "leave them 0"),
        ({"size_bytes": 2**63}, None, "INVALID_ARGUMENT", "bytes announced"),
        ({"padding_bytes": 2**63}, None, "INVALID_ARGUMENT", "bytes of padding"),
        ({"sha256": b"short"}, None, "INVALID_ARGUMENT", "a digest has 32 bytes"),
        ({"sha256": b""}, None, "INVALID_ARGUMENT", "no digest"),
        ({"blake3": b"\1" * 40}, None, "INVALID_ARGUMENT", "a digest has 32 bytes"),
        ({"blake3": b"\0" * 32}, None, "DATA_LOSS", "digest"),
        ({"sha256": b"\0" * 32}, None, "DATA_LOSS", "digest"),
        ({"purpose": PURPOSE_AGGREGATE}, None, "INVALID_ARGUMENT", "nothing else"),
        ({"purpose": PURPOSE_SNAPSHOT}, None, "FAILED_PRECONDITION", "not asked for"),
        ({"purpose": 77}, None, "INVALID_ARGUMENT", "nothing else"),
        ({"run_id": "\u202eother\n\x00"}, None, "FAILED_PRECONDITION", "belongs to run"),
        ({}, NAN, "INVALID_ARGUMENT", "not all finite"),
        ({}, np.full(1000, 3e38, np.float32), "INVALID_ARGUMENT", "over the sum's range"),
    ],
)
def test_what_is_wrong_with_a_payload_is_said_to_its_sender(fields, values, status, why, monkeypatch, once):
    code, details = once.push(fields, values)
    assert code == status
    assert any(part in details for part in why.split("|"))
    assert len(details) < 1000


class Once:
    """One federation for all the lies above, which d0 tells while the others train."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.monkeypatch = pytest.MonkeyPatch()
        self.plan = star(refusals=10**6)
        self.context = federation(self.plan, self.monkeypatch, learner=Slow)
        self.running = self.loop.run_until_complete(self.context.__aenter__())

    def push(self, fields: dict[str, Any], values: Values | None) -> tuple[str, str]:
        return self.loop.run_until_complete(self._push(fields, values))

    async def _push(self, fields: dict[str, Any], values: Values | None) -> tuple[str, str]:
        await self.running.until("ready")
        return await lie_in_a_round(self.running, fields, values)

    def close(self) -> None:
        self.loop.run_until_complete(self.context.__aexit__(None, None, None))
        self.loop.close()
        self.monkeypatch.undo()


@pytest.fixture(scope="module")
def once():
    one = Once()
    yield one
    one.close()


async def lie_in_a_round(running: Federation, fields: dict, values: Values | None) -> tuple[str, str]:
    """The status that d0 gets for an update of the round in progress; the round ends as if nothing had been."""
    from hffm.v1 import control_pb2 as control

    reply = await running.control.StartRounds(control.StartRoundsRequest(count=1))
    channels = Channels()
    try:
        return await pushed(running.plan, channels, {"round": reply.first_round, **fields}, values)
    finally:
        await channels.close()
        await running.until("ready")


async def pushed(plan: Plan, channels: Channels, fields: dict, values: Values | None) -> tuple[str, str]:
    adapter = plan.module("adapter")
    payload = Payload(adapter, np.zeros(1000, np.float32) if values is None else values)
    file = payload.to_bytes()
    told = {
        "run_id": "test",
        "module": "adapter",
        "sender": "d0",
        "purpose": PURPOSE_UPDATE,
        "weight": 5.0,
        "contributors": ["d0"],
        "size_bytes": len(file),
        "sha256": hashlib.sha256(file).digest(),
    }
    stub = rpc.ExchangeStub(channels.to(plan.root.address))
    call = stub.Push(metadata=identity("d0"))
    try:
        await call.write(pb.PushRequest(manifest=Manifest(**{**told, **fields})))
        async with asyncio.timeout(5):
            if (await call.read()) is not grpc.aio.EOF:
                await call.write(pb.PushRequest(chunk=file))
                await call.done_writing()
                while (await call.read()) is not grpc.aio.EOF:
                    continue
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass
    return (await call.code()).name, await call.details()
