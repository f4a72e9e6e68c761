"""Turns at reading: few at a time while bytes lie ready, all side by side when they do not."""

from __future__ import annotations

import asyncio

import pytest

from node.wire.turns import Turns


async def read_all(turns: Turns, chunks: int, each: float, log: list[str], name: str) -> None:
    async with turns.one() as turn:
        for _ in range(chunks):
            await turn.read(asyncio.sleep(each), 5.0)
            log.append(name)


def test_what_lies_ready_is_read_one_stream_after_the_other() -> None:
    async def test() -> list[str]:
        turns, log = Turns(readers=1), []
        await asyncio.gather(*(read_all(turns, 5, 0.0, log, name) for name in "abc"))
        return log

    assert "".join(asyncio.run(test())) == "aaaaabbbbbccccc"


def test_slow_streams_are_read_side_by_side() -> None:
    async def test() -> list[str]:
        turns, log = Turns(readers=1), []
        await asyncio.gather(*(read_all(turns, 3, 0.1, log, name) for name in "abc"))
        return log

    assert all(set(some) == set("abc") for some in zip(*[iter(asyncio.run(test()))] * 3, strict=True))


def test_nobody_keeps_a_turn_by_being_just_fast_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.wire.turns._LONGEST_S", 0.05)

    async def test() -> list[str]:
        turns, log = Turns(readers=1), []
        hog = asyncio.ensure_future(read_all(turns, 1000, 0.005, log, "hog"))
        await asyncio.sleep(0)
        await asyncio.wait_for(read_all(turns, 5, 0.0, log, "other"), 5.0)
        hog.cancel()
        await asyncio.wait({hog})
        return log

    assert asyncio.run(test()).count("other") == 5


def test_a_turn_is_free_again_after_a_stall_and_after_a_cancel() -> None:
    async def test() -> None:
        turns = Turns(readers=1)
        async with turns.one() as turn:
            with pytest.raises(TimeoutError):
                await turn.read(asyncio.sleep(60), 0.01)
        left = asyncio.ensure_future(read_all(turns, 1, 60.0, [], "left"))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait({left})
        await asyncio.wait_for(read_all(turns, 1, 0.0, [], "next"), 5.0)

    asyncio.run(test())
