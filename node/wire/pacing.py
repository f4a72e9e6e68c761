"""Links in user space: the sender holds chunks back to the link's rate and delay.

A chunk is handed to the transport at the moment at which its last byte would arrive over the modelled link.
The schedule is absolute, so that waking up late once does not add up, and there is one per link and sender,
so that concurrent transfers share the link.
"""

from __future__ import annotations

import asyncio
import time

from node.plan import Link

CHUNK_BYTES = 1 << 20
_SMALLEST_CHUNK_BYTES = 1 << 10
_CHUNK_S = 0.1  # of airtime: fine enough to share a link, coarse enough for the event loop


class Pacer:
    """One directed link as its sender sees it; without a link, nothing is held back."""

    def __init__(self, link: Link | None) -> None:
        self.link = link
        self._idle_at = 0.0  # when the last chunk reserved will have left

    @property
    def chunk_bytes(self) -> int:
        if self.link is None:
            return CHUNK_BYTES
        return int(min(CHUNK_BYTES, max(_SMALLEST_CHUNK_BYTES, self.link.rate_bps / 8 * _CHUNK_S)))

    def reserve(self, ready_s: float, size_bytes: int) -> float:
        """Takes the link for a chunk that is ready at this time; when its last byte has left."""
        assert self.link is not None
        self._idle_at = max(ready_s, self._idle_at) + 8 * size_bytes / self.link.rate_bps
        return self._idle_at

    def transit(self) -> Transit:
        """For one stream of chunks."""
        return Transit(self)


class Transit:
    """One stream of chunks over a link: they follow one another, and the delay is paid once."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._started = False

    async def carry(self, size_bytes: int) -> None:
        """Waits until a chunk of this size has crossed the link."""
        link = self._pacer.link
        if link is None:
            return
        now = time.monotonic()
        # The chunk before this one arrived just now, so it had left one delay earlier, and this one followed it.
        ready = now - link.delay_s if self._started else now
        self._started = True
        wait = self._pacer.reserve(ready, size_bytes) + link.delay_s - now
        if wait > 0:
            await asyncio.sleep(wait)


class Pacers:
    """The outgoing links of one node."""

    def __init__(self, links: dict[str, Link]) -> None:
        self._pacers = {dst: Pacer(link) for dst, link in links.items()}

    def to(self, node: str) -> Pacer:
        return self._pacers.setdefault(node, Pacer(None))
