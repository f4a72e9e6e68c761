"""Turns at reading: of payloads that come as fast as they can be read, few lie half read at a time.

A parent that read all of its children's payloads at once would hold them all at once. So a few readers at a time
have a turn, and the others' bytes wait in their senders. Whoever must wait for its sender gives its turn up, so
that slow links are all read side by side; and after a while, so that nobody keeps it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_READERS = 4
_PROMPT_S = 0.02  # bytes that lie ready come sooner
_LONGEST_S = 1.0


class Turns:
    """Of all streams into one node."""

    def __init__(self, readers: int = _READERS) -> None:
        self._free = asyncio.Semaphore(readers)  # which wakes those who wait in the order of their coming

    def one(self) -> Turn:
        return Turn(self._free)


class Turn:
    """Of one stream, as a context manager: it is over at the end of the `async with`."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self._since: float | None = None  # monotonic; None: without a turn

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_up()

    async def read(self, reading: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """What `reading` gives; raises TimeoutError when it takes longer, the wait for a turn not counted."""
        if self._since is not None and time.monotonic() - self._since > _LONGEST_S:
            self._give_up()
        await self._take()
        # Not to be cancelled for this: a call whose reading is cancelled is over.
        late = asyncio.get_running_loop().call_later(_PROMPT_S, self._give_up)
        try:
            async with asyncio.timeout(timeout_s):
                return await reading
        finally:
            late.cancel()

    async def _take(self) -> None:
        if self._since is None:
            await self._free.acquire()
            self._since = time.monotonic()

    def _give_up(self) -> None:
        if self._since is not None:
            self._since = None
            self._free.release()
