"""A file looked at while it passes through a relay, so that it is known who let something wrong in.

What a relay passes on has been found right by then, but for its last chunk, which waits for the digest.
"""

from __future__ import annotations

import math

import numpy as np
from hffm.v1.payload_pb2 import Manifest

from node.aggregation.running_sum import SUM_LIMIT
from node.aggregation.update import largest
from node.errors import PayloadCorrupt, PayloadRefused
from node.payload import check_header, header, header_bytes
from node.plan import Module, Precision
from node.wire.digest import Digest


class Inspection:
    """Of one file, which comes in pieces."""

    def __init__(self, manifest: Manifest, module: Module, exact: bool) -> None:
        """exact: its tensors must lie as this system lays them out, so that it can be added up as it comes."""
        self._manifest = manifest
        self._module = module
        self._exact = exact
        self._digest = Digest(manifest)
        self._header = bytearray()
        self._left = 8  # bytes of the header that are missing, as far as its length is known
        self._rest = b""  # of a value

    def look(self, data: memoryview) -> None:
        """At the next bytes of the file. Raises PayloadCorrupt or PayloadRefused."""
        self._digest.update(data)
        while self._left and len(data):
            self._header += data[: self._left]
            data, self._left = data[self._left :], max(0, self._left - len(data))
            if not self._left:
                self._left = self._header_left()
        if self._module.precision is not Precision.FP32:
            return  # what its values are is known when all of them are there, at their destination
        whole = self._rest + data.tobytes() if self._rest else data
        end = len(whole) // 4 * 4
        self._look_at(np.frombuffer(whole[:end], np.float32))
        self._rest = bytes(whole[end:])

    def _header_left(self) -> int:
        missing = header_bytes(self._module, bytes(self._header[:8])) - len(self._header)
        if missing > 0:
            return missing
        check_header(self._module, bytes(self._header), int(self._manifest.size_bytes) - len(self._header))
        if self._exact and self._header != header(self._module):
            raise PayloadRefused(
                f"{self._what}: its tensors lie in another order: it can be relayed store-and-forward only"
            )
        return 0

    def _look_at(self, values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        peak = largest(values)
        if not math.isfinite(peak):
            raise PayloadRefused(f"{self._what}: values are not all finite: the sender's training diverged")
        if self._exact and peak * self._manifest.weight >= SUM_LIMIT:
            raise PayloadRefused(f"{self._what}: weight x value is over the sum's range: clip the module")

    def finish(self, trailer: bytes) -> None:
        """After the last byte. Raises PayloadCorrupt for another digest."""
        if self._manifest.size_bytes and not self._digest.agrees(trailer):
            raise PayloadCorrupt(f"{self._what}: the digest does not match; send it again")

    @property
    def _what(self) -> str:
        m = self._manifest
        return f"module '{m.module}' of round {m.round} from '{m.sender}'"
