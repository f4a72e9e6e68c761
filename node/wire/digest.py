"""The digest by which a receiver knows that a payload came whole.

BLAKE3 where the sender gives it, and else SHA-256: on processors without instructions for SHA-256 (older servers,
many boards) hashing with it would take longer than all else that a transfer costs.
"""

from __future__ import annotations

import hashlib

from blake3 import blake3
from hffm.v1.payload_pb2 import Manifest

from node.wire.codec import Chunk

DIGEST_BYTES = 32  # of either


def announces_digest(manifest: Manifest) -> bool:
    """False where a Trailer brings it, and for an empty payload."""
    return bool(manifest.blake3 or manifest.sha256)


class Digest:
    """Of the bytes of one payload as they come."""

    def __init__(self, manifest: Manifest) -> None:
        self._announced = manifest.blake3 or manifest.sha256
        self._hash = blake3() if manifest.blake3 else hashlib.sha256()

    def update(self, chunk: Chunk) -> None:
        self._hash.update(chunk)

    def agrees(self, trailer: bytes = b"") -> bool:
        """With the manifest; or with `trailer`, where the manifest had none."""
        return self._hash.digest() == (self._announced or trailer)
