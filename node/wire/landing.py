"""Where the bytes of one payload go on their way in: into a buffer of its own, hashed on the way, and decoded as a
view of it. A relay may let payloads land in a window instead (`wire.window`), of which it sends on what has come
before the rest is there.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
from hffm.v1.payload_pb2 import Manifest

from node.aggregation.update import largest
from node.errors import PayloadCorrupt, PayloadRefused
from node.payload import Values, decode, values_bytes
from node.plan import Module
from node.waiting import Change
from node.wire.codec import Chunk
from node.wire.digest import Digest

_NO_BYTES = np.empty(0, dtype=np.uint8)


class Key(NamedTuple):
    """Names a payload within a run."""

    round: int
    module: str
    sender: str
    purpose: int
    attempt: int = 0
    step: int = 0


def key_of(manifest: Manifest) -> Key:
    m = manifest
    return Key(m.round, m.module, m.sender, m.purpose, m.attempt, m.step)


class Landing(Protocol):
    """Where the bytes of one payload go."""

    manifest: Manifest
    received: int  # bytes of the file and its padding

    @property
    def total(self) -> int: ...

    @property
    def complete(self) -> bool: ...

    def feed(self, chunk: Chunk) -> None:
        """Adds the next bytes; raises PayloadCorrupt for more than were announced."""
        ...

    async def room(self, timeout_s: float) -> bool:
        """Whether the next bytes may come, after waiting for it this long at most."""
        ...

    def finish(self, trailer: bytes) -> Values:
        """The values, where they are kept; `trailer`: the digest, where the manifest had none."""
        ...

    @property
    def most_bytes(self) -> int:
        """What it may come to hold in memory; nothing before the first `feed`."""
        ...

    def drop(self) -> None:
        """Lets go of what it holds: nothing more will come."""
        ...


class Partial:
    """One payload on its way in, kept whole. Others may read what has come already."""

    def __init__(self, manifest: Manifest, module: Module) -> None:
        self.manifest = manifest
        self.module = module
        self.received = 0  # bytes of the file and its padding
        self.grown = Change()
        self._buffer = _NO_BYTES  # until the first bytes come
        self._digest = Digest(manifest)

    @property
    def total(self) -> int:
        return int(self.manifest.size_bytes + self.manifest.padding_bytes)

    @property
    def complete(self) -> bool:
        return self.received == self.total

    @property
    def most_bytes(self) -> int:
        return int(self.manifest.size_bytes) + (values_bytes(self.module) if self.manifest.size_bytes else 0)

    def drop(self) -> None:
        self._buffer = _NO_BYTES

    def feed(self, chunk: Chunk) -> None:
        """Adds the next bytes; raises PayloadCorrupt for more than were announced."""
        if self.received + len(chunk) > self.total:
            raise PayloadCorrupt(f"{self._what}: more bytes than the {self.total} announced")
        if self.received == 0:
            self._buffer = np.empty(self.manifest.size_bytes, dtype=np.uint8)
        room = max(0, len(self._buffer) - self.received)
        file_part = memoryview(chunk)[:room]
        self._buffer[self.received : self.received + len(file_part)] = np.frombuffer(file_part, np.uint8)
        self._digest.update(file_part)
        self.received += len(chunk)
        self.grown.happened()

    async def room(self, timeout_s: float) -> bool:
        """Always: its buffer is as long as the file."""
        return True

    def read(self, start: int, end: int) -> bytes:
        """Bytes that have come: of the file, then zeros of the padding."""
        file_part = self._buffer[start:end].tobytes()
        return file_part + bytes(end - start - len(file_part))

    def finish(self, trailer: bytes = b"") -> Values:
        """The values; raises PayloadCorrupt for a wrong digest or form, PayloadRefused for what is not finite."""
        if self.manifest.size_bytes == 0:
            return np.empty(0, dtype=np.float32)
        if not self._digest.agrees(trailer):
            raise PayloadCorrupt(f"{self._what}: the digest does not match; send it again")
        values = decode(self.module, self._buffer.data)
        if not math.isfinite(largest(values)):
            raise PayloadRefused(f"{self._what}: values are not all finite: the sender's training diverged")
        return values

    @property
    def _what(self) -> str:
        m = self.manifest
        return f"module '{m.module}' of round {m.round} from '{m.sender}'"
