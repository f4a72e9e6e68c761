"""Test payloads over every link of a plan, and what they measure beside what the links are modelled as."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.launch.launcher import on_the_host
from deploy.links.netns import Network
from deploy.links.probing import Probing
from node.plan import Link, Plan, dump_plan
from node.wire.overhead import carried

PAYLOAD_BYTES = 6_000_000
_SMALL_BYTES = 1000  # of the payload that tells the delay
_SMALL_TRIES = 3
_WARM_S = 0.1  # of traffic, beside four round trips, that opens the window of a new connection
# Of rate that is under way at a time, so that a check says how good the links are and not how busy this machine is.
_BUDGET_BPS = 150e6
_OFF = 0.02  # of the model: slower transfers may be sent again

Row = dict[str, Any]
Say = Callable[[int, int], None]  # links done, links in all


@dataclass(frozen=True)
class Sample:
    """What one link measured: seconds of a small and of the whole payload."""

    link: Link
    size_bytes: int
    small_s: float
    seconds: float  # of the fastest of `tries`
    tries: int = 1

    def or_faster(self, other: Sample) -> Sample:
        """Of both: what held either up is no property of the link."""
        return replace(
            self,
            small_s=min(self.small_s, other.small_s),
            seconds=min(self.seconds, other.seconds),
            tries=self.tries + other.tries,
        )

    def error(self, plan: Plan) -> float:
        """Of the model, as a share of it; more than 0 is slower."""
        return self.seconds / self._carried(plan).seconds(self.size_bytes) - 1

    def row(self, plan: Plan) -> Row:
        """Rates are of payload. The small payload's time is taken for the delay, less what the rest of it takes."""
        link = self._carried(plan)
        modelled_s, small_s = link.seconds(self.size_bytes), link.seconds(_SMALL_BYTES)
        more_bits = 8 * (self.size_bytes - _SMALL_BYTES)
        return {
            "src": self.link.src,
            "dst": self.link.dst,
            "kind": self.link.kind.value,
            "bytes": self.size_bytes,
            "rate_bps": self.link.rate_bps,
            "delay_s": self.link.delay_s,
            "jitter_s": self.link.jitter_s,
            "loss": self.link.loss,
            "modelled_rate_bps": more_bits / (modelled_s - small_s),
            "measured_rate_bps": more_bits / max(self.seconds - self.small_s, 1e-9),
            "measured_delay_s": self.link.delay_s + self.small_s - small_s,
            "modelled_s": modelled_s,
            "measured_s": self.seconds,
            "error": self.error(plan),
            "tries": self.tries,
        }

    def _carried(self, plan: Plan) -> Link:
        return carried(self.link, plan.links_backend, plan.link(self.link.dst, self.link.src))


async def check(
    plan: Plan, size_bytes: int, *, concurrent: bool = False, tries: int = 1, say: Say | None = None
) -> list[Sample]:
    """Sends over every link of the plan, in processes made for it; in namespaces if the kernel shapes the links.

    concurrent: all at once, else as many as leave this machine at ease. tries: so often at most, while a link
    is slower than modelled: nodes and machines have pauses that are not the link's (gRPC's threads at times leave
    what has come unread for a quarter of a second). Raises what the first failing one raised.
    """
    with ExitStack() as stack:
        namespace_of = on_the_host
        if plan.links_backend not in ("none", "paced"):
            network = Network.create(plan)
            stack.callback(network.remove)
            namespace_of = network.namespace
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hffm-check-")))
        (folder / "plan.json").write_text(dump_plan(plan))
        async with Probing(plan, folder / "plan.json", namespace_of) as probing:
            return await _measure(plan, probing, size_bytes, concurrent, tries, say)


async def _measure(
    plan: Plan, probing: Probing, size_bytes: int, concurrent: bool, tries: int, say: Say | None
) -> list[Sample]:
    lanes = _Lanes(float("inf") if concurrent else _BUDGET_BPS)
    # The two directions one after the other: each carries the acknowledgements of the other, 2 % of its rate.
    pairs = {frozenset((link.src, link.dst)): asyncio.Lock() for link in plan.links}
    found: dict[tuple[str, str], Sample] = {}

    async def one(link: Link) -> None:
        # What was slow is sent again alone: that tells a slow link from a machine with too much to do.
        alone = (link.src, link.dst) in found or plan.links_backend == "none"
        async with (
            pairs[frozenset((link.src, link.dst))],
            lanes.room(_BUDGET_BPS if alone else link.rate_bps),
        ):
            sample = await _sample(plan, probing, link, size_bytes)
        before = found.get((link.src, link.dst))
        found[link.src, link.dst] = sample if before is None else before.or_faster(sample)
        if say is not None and before is None:
            say(len(found), len(plan.links))

    # The longest first, so that they do not come to stand alone at the end.
    left = sorted(plan.links, key=lambda link: -link.seconds(size_bytes))
    for _ in range(tries):
        await _all(one(link) for link in left)
        left = [link for link in left if found[link.src, link.dst].error(plan) > _OFF]
    return [found[link.src, link.dst] for link in plan.links]


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """The first that fails ends the others."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _sample(plan: Plan, probing: Probing, link: Link, size_bytes: int) -> Sample:
    # The first transfer connects and finds the window of TCP: that is no property of the link.
    warm_bytes = link.rate_bps / 8 * (_WARM_S + 8 * link.delay_s) if plan.links_backend != "none" else 0
    await probing.send(link.src, link.dst, int(min(size_bytes, max(_SMALL_BYTES, warm_bytes))))
    small = [await probing.send(link.src, link.dst, _SMALL_BYTES) for _ in range(_SMALL_TRIES)]
    return Sample(link, size_bytes, min(small), await probing.send(link.src, link.dst, size_bytes))


class _Lanes:
    """Lets transfers begin while their rates add up to no more than the budget; a faster one goes alone."""

    def __init__(self, budget_bps: float) -> None:
        self._budget_bps = budget_bps
        self._taken_bps = 0.0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def room(self, rate_bps: float) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(rate_bps))
            self._taken_bps += rate_bps
        try:
            yield
        finally:
            self._taken_bps = max(0.0, self._taken_bps - rate_bps)
            async with self._changed:
                self._changed.notify_all()

    def _fits(self, rate_bps: float) -> bool:
        return self._taken_bps < 1.0 or self._taken_bps + rate_bps <= self._budget_bps
