"""Devices that lie to their neighbours: refused by the first who hears it, blamed alone, and gone around."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hffm.v1 import membership_pb2 as pb
from hffm.v1.payload_pb2 import Manifest

from node.payload import Payload
from node.plan import Limits, Relay
from node.roles.traffic import Traffic
from node.wire.parent import ParentSession
from node.wire.stream import Stage, StageMaker, WholeStage
from node.wire.transfer import Outgoing
from tests.federation import FAST, Federation, federation, module
from tests.roles.clusters import cluster_plan, graph

LIMITS = Limits(**{**FAST.model_dump(), "round_s": 20.0, "stall_s": 4.0, "quorum": 0.5})
ADAPTER = module("adapter", 60_000, cluster=1, edge=1, cloud=1)

Lie = Callable[[Manifest, bytearray], None]  # changes what is announced, and the file


def not_finite(manifest: Manifest, file: bytearray) -> None:
    file[-40:-36] = np.float32(np.nan).tobytes()


def another_type(manifest: Manifest, file: bytearray) -> None:
    file[:] = file.replace(b'"F32"', b'"I32"')


def gaps(manifest: Manifest, file: bytearray) -> None:
    length = int.from_bytes(file[:8], "little")
    table = json.loads(file[8 : 8 + length])
    table["b"]["data_offsets"][0] += 4
    text = json.dumps(table, separators=(",", ":")).encode()
    file[8 : 8 + length] = text.ljust(length)


def too_heavy(manifest: Manifest, file: bytearray) -> None:
    manifest.weight = 1e12


def for_others(manifest: Manifest, file: bytearray) -> None:
    manifest.contributors[:] = ["d0", "d3"]


def as_another(manifest: Manifest, file: bytearray) -> None:
    manifest.sender = "d0"


def another_digest(manifest: Manifest, file: bytearray) -> None:
    manifest.blake3 = bytes(32)


class _Lying(WholeStage):
    """A whole file, however wrong."""

    def __init__(self, manifest: Manifest, file: bytes) -> None:
        super().__init__(manifest, None)
        self._file = file

    async def chunks(self, most_bytes: int, offset: int) -> Any:
        for at in range(offset, len(self._file), most_bytes):
            yield self._file[at : at + most_bytes], False


class _File(Payload):
    """Sent whole, byte by byte as it is."""

    def __init__(self, file: bytes) -> None:
        object.__setattr__(self, "file", file)

    def chunks(self, chunk_bytes: int, offset: int = 0, padding_bytes: int = 0) -> Any:
        file = memoryview(self.file)  # type: ignore[attr-defined]
        return (file[at : at + chunk_bytes] for at in range(offset, len(file), chunk_bytes))


def _told(lie: Lie, manifest: Manifest, file: bytes) -> tuple[Manifest, bytes]:
    wrong, changed = Manifest(), bytearray(file)
    wrong.CopyFrom(manifest)
    lie(wrong, changed)
    if wrong.blake3 != bytes(32):
        wrong.blake3 = blake3(bytes(changed)).digest()
    wrong.size_bytes = len(changed)
    return wrong, bytes(changed)


def make_liar(monkeypatch: pytest.MonkeyPatch, liar: str, victim: str, lie: Lie) -> None:
    """From now on this device tells this lie to this neighbour, and never complains."""
    stream, push, trouble = Traffic.stream, Traffic.push, ParentSession.trouble

    async def lying(maker: StageMaker) -> Stage:
        stage = await maker()
        if not stage.manifest.size_bytes:
            return stage
        file = bytearray()
        async for chunk, _ in stage.chunks(1 << 16, 0):
            file += chunk
            stage.release(len(file))
        return _Lying(*_told(lie, stage.manifest, bytes(file)))

    async def stream_lies(self: Traffic, peer: str, makers: Sequence[StageMaker]) -> None:
        if (self._me, peer) == (liar, victim):
            makers = [(lambda one: lambda: lying(one))(maker) for maker in makers]
        await stream(self, peer, makers)

    async def push_lies(
        self: Traffic, peer: str, outgoing: Sequence[Outgoing], *rest: Any, **more: Any
    ) -> None:
        if (self._me, peer) == (liar, victim):
            wrong = [_told(lie, one.manifest, one.payload.to_bytes()) for one in outgoing if one.payload]
            outgoing = [Outgoing(manifest, _File(file)) for manifest, file in wrong]
        await push(self, peer, outgoing, *rest, **more)

    def silent(self: ParentSession, told: pb.Trouble) -> None:
        if self._node != liar:
            trouble(self, told)

    monkeypatch.setattr(ParentSession, "trouble", silent)
    monkeypatch.setattr(Traffic, "stream", stream_lies)
    monkeypatch.setattr(Traffic, "push", push_lies)


def lied(relay: Relay, lie: Lie, monkeypatch: pytest.MonkeyPatch) -> Federation:
    """Two rounds on a ring of four, whose tree is d2 > d1 > d0 < d3; d2 lies to d1."""
    plan = cluster_plan(graph("ring", 4), relay, modules=(ADAPTER,), limits=LIMITS)
    make_liar(monkeypatch, "d2", "d1", lie)

    async def main() -> Federation:
        async with federation(plan, monkeypatch) as running:
            await running.rounds(2)
            return running

    return asyncio.run(main())


LIES = [
    (not_finite, "PayloadRefused", "not all finite"),
    (another_type, "PayloadRefused", "is not F32"),
    (gaps, "PayloadCorrupt", "impossible offsets"),
    (too_heavy, "PayloadRefused", "the data have"),
    (for_others, "PayloadRefused", "is not below"),
    (as_another, "PayloadRefused", "may not push as 'd0'"),
    (another_digest, "PayloadCorrupt", "digest"),
]


@pytest.mark.parametrize(("lie", "error", "why"), LIES, ids=[lie.__name__ for lie, *_ in LIES])
@pytest.mark.parametrize("relay", [Relay.AGGREGATE])
def test_a_lie_is_refused_where_it_is_told_and_gone_around(relay, lie, error, why, monkeypatch):
    check_lie(relay, lie, error, why, monkeypatch)


@pytest.mark.parametrize("relay", [Relay.STORE_AND_FORWARD, Relay.CUT_THROUGH])
def test_what_only_passes_through_a_relay_is_looked_at_there(relay, monkeypatch):
    """And not blamed on the relay by the next one; every lie on every way of relaying: tests/long."""
    check_lie(relay, *LIES[0], monkeypatch)


def check_lie(relay: Relay, lie: Lie, error: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    running = lied(relay, lie, monkeypatch)
    # Not what comes too early or too late, while not all have heard yet of the other ways.
    refused = [e for e in running.kind("refused") if e["error"] in ("PayloadRefused", "PayloadCorrupt")]
    assert {(e["node"], e["peer"]) for e in refused} == {("d1", "d2")}
    assert refused[0]["error"] == error
    assert why in refused[0]["message"]
    regrouped = running.kind("regrouped")
    assert [e["broken"] for e in regrouped] == [[["d1", "d2"]]]
    made = [e["contributors"] for e in running.kind("aggregated") if e["tier"] == "edge"]
    assert made == [["d0", "d1", "d2", "d3"]] * 2
    assert all(e["wall_s"] < LIMITS.round_s for e in running.kind("round"))
