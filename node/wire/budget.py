"""Bytes of payloads on their way into a node, reserved before they are allocated."""

from __future__ import annotations

import time

from node.errors import Overloaded
from node.waiting import Change


class Budget:
    """Never more than `limit_bytes` at a time."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.taken_bytes = 0
        self._freed = Change()

    def fits(self, size_bytes: int) -> bool:
        return self.taken_bytes + size_bytes <= self.limit_bytes

    async def reserve(self, size_bytes: int, patience_s: float) -> None:
        """Waits for room; raises Overloaded when there is none in time, and nothing is reserved."""
        deadline = time.monotonic() + patience_s
        while not self.fits(size_bytes):
            if (left_s := deadline - time.monotonic()) <= 0:
                raise Overloaded(
                    f"{self.taken_bytes} of {self.limit_bytes} bytes for payloads on their way in are taken, "
                    f"{size_bytes} more do not fit: try again, or raise limits.inflight_bytes"
                )
            await self._freed.wait(left_s)
        self.taken_bytes += size_bytes

    def release(self, size_bytes: int) -> None:
        self.taken_bytes -= size_bytes
        self._freed.happened()
