"""The bytes of a payload that passes through a relay: added at one end, let go at the other, never many at once."""

from __future__ import annotations

import numpy as np
from hffm.v1.payload_pb2 import Manifest

from node.errors import HffmError, PayloadCorrupt, PayloadError
from node.payload import Values
from node.plan import Module
from node.waiting import Change
from node.wire.codec import Chunk
from node.wire.inspection import Inspection

_NO_VALUES = np.empty(0, dtype=np.float32)


class Window:
    """A `Landing` that keeps only what has come and has not been let go."""

    def __init__(
        self, manifest: Manifest, module: Module, limit_bytes: int, peer: str = "", summed: bool = False
    ) -> None:
        """peer: who sends it here. summed: it is added to others, and not passed on as it came."""
        self.manifest = manifest
        self.received = 0  # bytes of the file and its padding
        self.most_kept_bytes = 0
        self._limit_bytes = limit_bytes
        self._peer = peer
        self._inspection = Inspection(manifest, module, exact=summed)
        self._kept = bytearray()
        self._kept_from = 0
        self._whole = False
        self._error: HffmError | None = None
        self._changed = Change()

    @property
    def total(self) -> int:
        return int(self.manifest.size_bytes + self.manifest.padding_bytes)

    @property
    def complete(self) -> bool:
        return self.received == self.total

    @property
    def most_bytes(self) -> int:
        return min(self.total, 2 * self._limit_bytes)

    def drop(self) -> None:
        self.fail(PayloadCorrupt(f"module '{self.manifest.module}': its sender began anew"))

    # -- how it fills -------------------------------------------------------------------------------------

    def feed(self, chunk: Chunk) -> None:
        """Adds the next bytes; raises PayloadCorrupt or PayloadRefused, here and for who reads, for wrong ones."""
        if self._error is not None:
            raise self._error
        try:
            if self.received + len(chunk) > self.total:
                raise PayloadCorrupt(
                    f"module '{self.manifest.module}': more bytes than the {self.total} announced"
                )
            file_part = memoryview(chunk)[: max(0, int(self.manifest.size_bytes) - self.received)]
            self._inspection.look(file_part)
        except PayloadError as error:
            self.fail(error)
            raise
        self._kept += chunk
        self.received += len(chunk)
        self.most_kept_bytes = max(self.most_kept_bytes, len(self._kept))
        self._changed.happened()

    async def room(self, timeout_s: float) -> bool:
        """Whether the sender may go on, after waiting for it this long at most."""
        if len(self._kept) >= self._limit_bytes and not self.complete:
            await self._changed.wait(timeout_s)
        return len(self._kept) < self._limit_bytes or self.complete

    def finish(self, trailer: bytes) -> Values:
        """No values: they have gone on. Raises PayloadCorrupt, here and for who reads, for a wrong digest."""
        try:
            self._inspection.finish(trailer)
        except PayloadError as error:
            self.fail(error)
            raise
        self._whole = True
        self._changed.happened()
        return _NO_VALUES

    def fail(self, error: HffmError) -> None:
        """Whoever reads gets this error: what is still missing will not come."""
        if not self._whole:
            error.blamed = self._peer
            self._error = error
            self._changed.happened()

    # -- how it empties -----------------------------------------------------------------------------------

    async def until(self, offset: int) -> None:
        """Waits until all bytes before `offset` have come."""
        while self.received < offset:
            await self._next_change()

    async def until_whole(self) -> None:
        """Waits until the last byte has come, and the digest is right."""
        while not self._whole:
            await self._next_change()

    def read(self, start: int, end: int) -> bytes:
        """Bytes that have come and have not been let go."""
        if start < self._kept_from:
            raise PayloadCorrupt(f"module '{self.manifest.module}': byte {start} has been let go")
        return bytes(self._kept[start - self._kept_from : end - self._kept_from])

    def release(self, offset: int) -> None:
        """Lets go of everything before `offset`."""
        gone = min(offset, self.received) - self._kept_from
        if gone > 0:
            del self._kept[:gone]
            self._kept_from += gone
            self._changed.happened()

    async def _next_change(self) -> None:
        if self._error is not None:
            raise self._error
        await self._changed.wait(_FOREVER_S)


_FOREVER_S = 3600.0  # the exchange that reads has a deadline of its own
