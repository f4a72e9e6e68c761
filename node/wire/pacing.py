"""Links in user space: the sender holds chunks back to the link's rate and delay.

A chunk is handed to the transport at the moment at which its last byte would arrive over the modelled link.
The schedule is absolute, so that waking up late once does not add up, and there is one per link and sender,
so that concurrent transfers share the link. Nothing is dropped: loss takes its share of the rate, as if what is
lost were sent again. Jitter is drawn for each chunk, and chunks stay in order.

Where the kernel keeps the rate, the sender holds chunks back for delay and jitter alone, or not at all; it cuts
them by the rate, so that a slow link shows progress and streams share it fairly.
"""

from __future__ import annotations

import asyncio
import time
from enum import Enum
from functools import cached_property

import numpy as np

from node.plan import Link, Plan
from node.randomness import generator

# A receiver sees progress once per chunk: on a link of 0.1 Mbit/s that is 21 s.
CHUNK_BYTES = 1 << 18
# Between nodes of one machine that nothing holds back: the fewer, the less a round costs.
LOCAL_CHUNK_BYTES = 1 << 20
# Of streams that relays send on as they come: a hop adds the time of one such chunk.
CUT_BYTES = 1 << 16
_SMALLEST_CHUNK_BYTES = 1 << 10
_SMALLEST_UNHELD_BYTES = (
    1 << 14
)  # where the plan's rate is not kept by anybody, and may be far from the truth
# Of lateness that the schedule makes good: longer is a pause of the stream, not a sender that was woken late.
_CATCH_UP_S = 1.0
_CHUNK_S = 0.1  # of airtime: fine enough to share a link, coarse enough for the event loop


class Holds(Enum):
    """What the sender does about a link."""

    NOTHING = "nothing"
    DELAY = "delay"
    RATE_AND_DELAY = "rate and delay"


# By the plan's links_backend; what is not here is shaped outside of the node.
_HOLDS = {"paced": Holds.RATE_AND_DELAY, "tbf": Holds.DELAY}


def chunk_bytes(link: Link, most: int = CHUNK_BYTES) -> int:
    """What a sender cuts payloads into on this link."""
    return int(min(most, max(_SMALLEST_CHUNK_BYTES, link.goodput_bps / 8 * _CHUNK_S)))


class Pacer:
    """One directed link as its sender sees it; without a link, nothing is held back."""

    def __init__(
        self,
        link: Link | None,
        holds: Holds = Holds.RATE_AND_DELAY,
        seed: int = 0,
        unheld_bytes: int | None = None,
    ) -> None:
        """seed: of the draws of jitter. unheld_bytes: what payloads are cut into where nothing is held back;
        default: by the link's rate, which may be what there is."""
        self._unheld_bytes = unheld_bytes
        self.link = link
        self.holds = Holds.NOTHING if link is None else holds
        self._idle_at = 0.0  # when the last chunk reserved will have left
        self._seed = seed

    @property
    def chunk_bytes(self) -> int:
        if self.holds is Holds.NOTHING and self._unheld_bytes is not None:
            return self._unheld_bytes
        return self.cut(CHUNK_BYTES)

    def cut(self, most: int) -> int:
        """What payloads are cut into on this link, at most so long."""
        if self.link is None:
            return most
        fair = chunk_bytes(self.link, most)
        return max(fair, _SMALLEST_UNHELD_BYTES) if self.holds is Holds.NOTHING else fair

    def busy_s(self, ready_s: float) -> float:
        """For how long from this time on the link carries what was there before."""
        return max(0.0, self._idle_at - ready_s)

    def reserve(self, ready_s: float, size_bytes: int) -> float:
        """Takes the link for a chunk that is ready at this time; when its last byte has left."""
        assert self.link is not None
        airtime_s = 8 * size_bytes / self.link.goodput_bps if self.holds is Holds.RATE_AND_DELAY else 0.0
        self._idle_at = max(ready_s, self._idle_at) + airtime_s
        return self._idle_at

    def delay_s(self) -> float:
        """Of the next chunk: drawn evenly around the link's, as tc-netem(8) does without a distribution."""
        assert self.link is not None
        if self.link.jitter_s == 0:
            return self.link.delay_s
        spread_s = float(self._draws.uniform(-self.link.jitter_s, self.link.jitter_s))
        return max(0.0, self.link.delay_s + spread_s)

    @cached_property
    def _draws(self) -> np.random.Generator:
        assert self.link is not None
        return generator(self._seed, self.link.src, self.link.dst, "jitter")

    def transit(self) -> Transit:
        """For one stream of chunks."""
        return Transit(self)


class Transit:
    """One stream of chunks over a link: they follow one another, and the delay is paid once."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._left: float | None = None  # when the last chunk had left
        self.airtime_s = (
            0.0  # for which these chunks had the link to themselves, where it is held to its rate
        )
        self.queued_s = 0.0  # for which they waited while the link carried others

    async def carry(self, size_bytes: int, late: bool = False) -> None:
        """Waits until a chunk of this size has crossed the link.

        `late`: the chunk had to be waited for, so that the link stood idle before it.
        """
        link = self._pacer.link
        if link is None or self._pacer.holds is Holds.NOTHING:
            return
        now = time.monotonic()
        # A chunk lies ready when the one before it has left, one delay before it arrives; or the stream paused.
        fresh = self._left is None or late
        ready = now if fresh else max(self._left or now, now - link.delay_s - _CATCH_UP_S)
        self.queued_s += self._pacer.busy_s(ready)
        self._left = self._pacer.reserve(ready, size_bytes)
        self.airtime_s += 8 * size_bytes / link.goodput_bps
        wait = self._left + self._pacer.delay_s() - now
        if wait > 0:
            await asyncio.sleep(wait)


class Pacers:
    """The outgoing links of one node."""

    def __init__(
        self,
        links: dict[str, Link],
        holds: Holds = Holds.RATE_AND_DELAY,
        seed: int = 0,
        unheld_bytes: int | None = None,
    ) -> None:
        self._pacers = {dst: Pacer(link, holds, seed, unheld_bytes) for dst, link in links.items()}
        self._unheld_bytes = unheld_bytes
        self._holds = holds
        self._seed = seed
        self._holds_any = bool(links)

    @classmethod
    def of_node(cls, plan: Plan, node: str) -> Pacers:
        """As the plan's links_backend has it."""
        links = {link.dst: link for link in plan.outgoing(node)}
        unheld_bytes = LOCAL_CHUNK_BYTES if all(n.on_loopback for n in plan.nodes) else None
        return cls(links, _HOLDS.get(plan.links_backend, Holds.NOTHING), plan.seed, unheld_bytes)

    def move(self, link: Link) -> None:
        """The link has another rate or delay from now on, if it is paced here at all."""
        pacer = self._pacers.get(link.dst)
        if pacer is not None and pacer.link is not None:
            pacer.link = link
        elif self._holds_any:
            self._pacers[link.dst] = Pacer(link, self._holds, self._seed, self._unheld_bytes)

    def to(self, node: str) -> Pacer:
        return self._pacers.setdefault(node, Pacer(None, unheld_bytes=self._unheld_bytes))
