"""Events on their way up: said again on every new connection, until the root has kept them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from hffm.v1 import membership_pb2 as pb

from node.log import Event, encode

_EVENTS_PER_BATCH = 500


@dataclass(frozen=True)
class _Said:
    """An event that the root may not have kept yet."""

    encoded: str
    child: str | None = None  # who said it, if not this node
    number: int = 0  # there


class UnkeptEvents:
    """Of this node and those below it, numbered from 0 in each life."""

    def __init__(self, on_more: Callable[[], None]) -> None:
        self._on_more = on_more
        self._events: deque[_Said] = deque()
        self._kept = 0  # by the root, of this life
        self._next = 0  # number of the one to write next on this connection
        # Set by a parent: what it tells a child whose events before this number are kept.
        self.on_kept: Callable[[str, int], None] = lambda child, before: None

    def hear(self, event: Event) -> None:
        """A sink of the node's log."""
        self._say(_Said(encode(event)))

    def relay(self, encoded: str, child: str | None = None, number: int = 0) -> None:
        """Of a child, or of an earlier life of this node."""
        self._say(_Said(encoded, child, number))

    def own(self) -> tuple[str, ...]:
        """Those of this node: the children keep theirs themselves."""
        return tuple(one.encoded for one in tuple(self._events) if one.child is None)

    def _say(self, said: _Said) -> None:
        self._events.append(said)
        self._on_more()

    # -- the connection -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """On a new connection."""
        self._next = self._kept

    @property
    def unwritten(self) -> bool:
        return self._next - self._kept < len(self._events)

    def next_batch(self) -> pb.EventBatch | None:
        first, start = self._next, self._next - self._kept
        batch = [one.encoded for one in islice(tuple(self._events), start, start + _EVENTS_PER_BATCH)]
        self._next += len(batch)
        return pb.EventBatch(events=batch, first=first) if batch else None

    def forget(self, before: int) -> None:
        """The root has kept those before this number."""
        children: dict[str, int] = {}
        while self._kept < before and self._events:
            said = self._events.popleft()
            self._kept += 1
            if said.child is not None:
                children[said.child] = said.number + 1
        self._next = max(self._next, self._kept)
        for child, number in children.items():
            self.on_kept(child, number)
