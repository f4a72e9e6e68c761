"""Receiving payloads: the protocol without I/O.

A payload is checked before anything is allocated, and its bytes are reserved. What a broken connection left is
kept, so that the sender can go on, as long as nobody else needs the room.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hffm.v1.payload_pb2 import Manifest

from node.errors import ProtocolError
from node.payload import Payload, Values
from node.plan import Module
from node.wire.budget import Budget
from node.wire.codec import Chunk
from node.wire.landing import Key, Landing, key_of


class Receiver(Protocol):
    """What a role decides about payloads."""

    def admit(self, manifest: Manifest, peer: str) -> Module:
        """The module's schema, or an HffmError that says why `peer` may not send this here and now."""
        ...

    def land(self, manifest: Manifest, module: Module, peer: str) -> Landing:
        """Where an admitted payload goes; most often, a `Partial`."""
        ...

    def exclude(self, peer: str, reason: str) -> None:
        """Nothing is taken from this peer any more."""
        ...

    def taken(self, key: Key) -> bool:
        """Whether this payload has been taken before."""
        ...

    async def take(self, manifest: Manifest, values: Values, peer: str) -> None:
        """Takes a checked payload; `values` is empty when the manifest's size is 0."""
        ...

    def offer(self, module: str, sha256: bytes, peer: str) -> tuple[Manifest, Payload]:
        """The version asked for, or an HffmError."""
        ...


@dataclass(eq=False)
class Reception:
    """One payload as one connection brings it."""

    landing: Landing
    reserved_bytes: int = 0
    idle: bool = False  # its connection is gone


class Intake:
    """All payloads on their way into one node."""

    def __init__(self, receiver: Receiver, budget: Budget, patience_s: float) -> None:
        """patience_s: how long a payload waits for room before it is refused."""
        self._receiver = receiver
        self._budget = budget
        self._patience_s = patience_s
        self._receptions: dict[Key, Reception] = {}

    async def begin(self, manifest: Manifest, resume: bool, peer: str) -> Reception | None:
        """Where to put the bytes that follow; None when the payload had been taken before.

        What is taken over by a newer connection of its sender stops accepting on the older one. Raises Overloaded
        when there is no room for it.
        """
        module = self._receiver.admit(manifest, peer)
        key = key_of(manifest)
        if self._receiver.taken(key):
            return None
        self._forget_before(manifest.round - 1)
        old = self._receptions.get(key)
        if resume and old is not None and old.landing.manifest == manifest:
            reception = Reception(old.landing, old.reserved_bytes)
            old.reserved_bytes = 0
        else:
            if old is not None:
                self._forget(key, old)
            reception = Reception(self._receiver.land(manifest, module, peer))
        self._receptions[key] = reception
        await self._reserve(reception)
        return reception

    async def _reserve(self, reception: Reception) -> None:
        needed = reception.landing.most_bytes - reception.reserved_bytes
        if needed <= 0:
            return
        idle = [(k, r) for k, r in self._receptions.items() if r.idle]
        while idle and not self._budget.fits(needed):
            self._forget(*idle.pop(0))
        try:
            await self._budget.reserve(needed, self._patience_s)
        except BaseException:
            reception.idle = True  # its sender may try again
            raise
        reception.reserved_bytes += needed
        self._check_current(reception)

    def feed(self, reception: Reception, chunk: Chunk) -> None:
        self._check_current(reception)
        reception.landing.feed(chunk)

    def leave(self, reception: Reception) -> None:
        """Its connection is gone. What has come is kept, for another one of the same sender."""
        reception.idle = True
        manifest = reception.landing.manifest
        if self._receptions.get(key_of(manifest)) is not reception:
            self._release(reception)

    def _check_current(self, reception: Reception) -> None:
        manifest = reception.landing.manifest
        if self._receptions.get(key_of(manifest)) is not reception:
            self._release(reception)
            raise ProtocolError(f"module '{manifest.module}': a newer connection took this transfer over")

    async def finish(self, reception: Reception, trailer: bytes, peer: str) -> bool:
        """Hands a whole payload to the role; True when it had been taken meanwhile."""
        manifest = reception.landing.manifest
        key = key_of(manifest)
        self._check_current(reception)
        del self._receptions[key]
        try:
            if self._receiver.taken(key):
                return True
            await self._receiver.take(manifest, reception.landing.finish(trailer), peer)
            return False
        finally:
            self._release(reception)

    def _forget_before(self, round_index: int) -> None:
        """Drops what broken connections left in earlier rounds."""
        for key, reception in list(self._receptions.items()):
            if reception.idle and key.round < round_index:
                self._forget(key, reception)

    def _forget(self, key: Key, reception: Reception) -> None:
        del self._receptions[key]
        reception.landing.drop()
        self._release(reception)

    def _release(self, reception: Reception) -> None:
        self._budget.release(reception.reserved_bytes)
        reception.reserved_bytes = 0
