"""What a device's peers have pushed, or begun to push."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from hffm.v1.payload_pb2 import Manifest

from node.aggregation import Update
from node.payload import Payload
from node.waiting import Change
from node.wire.landing import Key, Landing, key_of
from node.wire.transfer import Outgoing
from node.wire.window import Window


class Inbox:
    """Payloads by their names: on their way in, and whole."""

    def __init__(self) -> None:
        self._opened: dict[Key, Landing] = {}
        self._whole: dict[Key, Outgoing] = {}
        self._taken: set[Key] = set()
        self._changed = Change()

    def open(self, landing: Landing) -> None:
        self._opened[key_of(landing.manifest)] = landing
        self._changed.happened()

    def put(self, manifest: Manifest, payload: Payload | None) -> None:
        key = key_of(manifest)
        self._whole[key] = Outgoing(manifest, payload)
        self._taken.add(key)
        self._changed.happened()

    def taken(self, key: Key) -> bool:
        return key in self._taken

    async def opened(self, key: Key, deadline: float) -> Landing | None:
        """Once its manifest has come; None at the deadline (monotonic)."""
        while key not in self._opened and time.monotonic() < deadline:
            await self._changed.wait(deadline - time.monotonic())
        return self._opened.get(key)

    async def whole(self, keys: Sequence[Key], deadline: float) -> list[Outgoing]:
        """Those of the payloads that are whole when all are, or at the deadline."""
        while any(key not in self._whole for key in keys) and time.monotonic() < deadline:
            await self._changed.wait(deadline - time.monotonic())
        return [self._whole[key] for key in keys if key in self._whole]

    def most_kept_bytes(self) -> int:
        """The most that any payload has had in a window here."""
        windows = [one for one in self._opened.values() if isinstance(one, Window)]
        return max((one.most_kept_bytes for one in windows), default=0)

    def settle(self, round_index: int, attempt: int) -> None:
        """What came for this round, or an earlier attempt at it, is no longer needed; that it came stays known."""

        def open_still(key: Key) -> bool:
            return key.round > round_index or (key.round == round_index and key.attempt > attempt)

        self._opened = {k: one for k, one in self._opened.items() if open_still(k)}
        self._whole = {k: one for k, one in self._whole.items() if open_still(k)}
        self._taken = {k for k in self._taken if k.round >= round_index}


def update_of(one: Outgoing) -> Update:
    """An empty payload is an update of weight 0."""
    values = one.payload.values if one.payload is not None else np.empty(0, np.float32)
    return Update(values, one.manifest.weight, tuple(one.manifest.contributors))
