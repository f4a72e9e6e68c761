"""Payloads that a relay sends while they come in: as they are, added up, or from what it keeps for itself."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from hffm.v1.payload_pb2 import Manifest

from node.aggregation import Update, combine
from node.errors import PayloadRefused
from node.payload import Values, header
from node.plan import Module
from node.wire.landing import Partial
from node.wire.stream import Chunks
from node.wire.window import Window

_WAIT_S = 3600.0  # for more bytes; the exchange has a deadline of its own


class Passing:
    """Cut-through: a payload goes on as it comes, and stays in its window until it has arrived."""

    def __init__(self, window: Window) -> None:
        self.manifest = window.manifest
        self._window = window

    async def chunks(self, most_bytes: int, offset: int) -> Chunks:
        while offset < self._window.total:
            end = min(offset + most_bytes, self._window.total)
            late = self._window.received < end
            await self._window.until(end)
            if end == self._window.total:  # who passes on what is wrong would be blamed for it
                await self._window.until_whole()
            yield self._window.read(offset, end), late
            offset = end

    def release(self, offset: int) -> None:
        self._window.release(offset)

    def trailer(self) -> bytes:
        raise PayloadRefused("what only passes through has its digest in the manifest")


class Following:
    """The way back: what this device keeps for itself goes on as far as it has come."""

    def __init__(self, partial: Partial, until_whole: Callable[[], Awaitable[None]]) -> None:
        """until_whole: waits until it has been found right."""
        self.manifest = partial.manifest
        self._until_whole = until_whole
        self._partial = partial

    async def chunks(self, most_bytes: int, offset: int) -> Chunks:
        while offset < self._partial.total:
            end = min(offset + most_bytes, self._partial.total)
            late = self._partial.received < end
            while self._partial.received < end:
                await self._partial.grown.wait(_WAIT_S)
            if end == self._partial.total:
                await self._until_whole()
            yield self._partial.read(offset, end), late
            offset = end

    def release(self, offset: int) -> None:
        """It is kept anyway."""

    def trailer(self) -> bytes:
        raise PayloadRefused("what is handed down has its digest in the manifest")


class Combined:
    """Aggregation in transit: this device's update and its subtree's, added chunk by chunk as they come.

    Each value is the exact weighted sum, rounded once, as `aggregation.combine` gives it for whole updates,
    whatever the order of arrival. What has been made is kept until it has arrived.
    """

    def __init__(
        self, manifest: Manifest, module: Module, own: Update | None, inputs: Sequence[Window]
    ) -> None:
        self.manifest = manifest
        self._header = header(module)
        self._own = own
        self._inputs = inputs
        self._hash = hashlib.sha256()
        self._made = 0  # bytes
        self._kept = bytearray()
        self._kept_from = 0
        self.most_kept_bytes = 0

    @property
    def _total(self) -> int:
        return int(self.manifest.size_bytes + self.manifest.padding_bytes)

    async def chunks(self, most_bytes: int, offset: int) -> Chunks:
        while offset < self._total:
            late = False
            if offset >= self._made:
                end = self._next_end(most_bytes)
                late = await self._inputs_until(end)
                self._make(end)
            end = min(self._made, offset + most_bytes)
            yield bytes(self._kept[offset - self._kept_from : end - self._kept_from]), late
            offset = end

    def release(self, offset: int) -> None:
        gone = min(offset, self._made) - self._kept_from
        if gone > 0:
            del self._kept[:gone]
            self._kept_from += gone

    def trailer(self) -> bytes:
        return self._hash.digest()

    # -- what is made next --------------------------------------------------------------------------------

    def _next_end(self, most_bytes: int) -> int:
        """The header alone, then whole values, then padding."""
        start, size = len(self._header), int(self.manifest.size_bytes)
        if self._made < size:
            return start if self._made < start else min(size, self._made + most_bytes // 4 * 4)
        return min(self._total, self._made + most_bytes)

    async def _inputs_until(self, end: int) -> bool:
        """Whether any input had to be waited for."""
        late = False
        for one in self._inputs:
            needed = self._needed(one, end)
            late |= one.received < needed
            if self._is_padding(one, end):
                await _drain(one, needed)
            await one.until(needed)
            if end == self._total:
                await one.until_whole()
        return late

    def _is_padding(self, one: Window, end: int) -> bool:
        """Whether what is needed of this input only keeps time: nothing of it is added."""
        return not one.manifest.size_bytes or end > self.manifest.size_bytes

    def _needed(self, one: Window, end: int) -> int:
        """Bytes of an input behind this many of ours. Padding keeps pace from the end: as much is left of both."""
        return max(0, one.total - (self._total - end)) if self._is_padding(one, end) else end

    def _make(self, end: int) -> None:
        """All inputs have what is needed: no waiting from here on, so that nothing is half done."""
        size = int(self.manifest.size_bytes)
        if self._made >= size:
            made = bytes(end - self._made)
        elif end <= len(self._header):
            made = self._header
        else:
            made = self._sum(self._made, end).tobytes()
        if self._made < size:
            self._hash.update(made)
        self._kept += made
        self._made = end
        self.most_kept_bytes = max(self.most_kept_bytes, len(self._kept))
        for one in self._inputs:
            one.release(self._needed(one, end))

    def _sum(self, start: int, end: int) -> Values:
        first, last = ((at - len(self._header)) // 4 for at in (start, end))
        parts = [
            Update(np.frombuffer(one.read(start, end), np.float32), m.weight, tuple(m.contributors))
            for one in self._inputs
            if (m := one.manifest).size_bytes
        ]
        if self._own is not None:
            own = self._own
            parts.append(Update(own.values[first:last], own.weight, own.contributors))
        return combine(parts).values


async def _drain(one: Window, needed: int) -> None:
    """Lets go of padding as it comes: more may be needed at once than the window holds."""
    while one.received < needed:
        await one.until(min(needed, one.received + 1))
        one.release(min(needed, one.received))
