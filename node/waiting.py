"""Waiting for something to change, never without an end."""

from __future__ import annotations

import asyncio
from contextlib import suppress


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
