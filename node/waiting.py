"""Waiting for something to change, never without an end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any


class Change:
    """Wakes all who wait, each time that something has changed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def happened(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Until the next change, or the time is up: the caller looks which."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, timeout_s)):
                await self._event.wait()


async def all_of(duties: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs all; the first that fails ends the others, and what it raised is raised here."""
    tasks = [asyncio.ensure_future(duty) for duty in duties]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # looked at: the first one is raised
