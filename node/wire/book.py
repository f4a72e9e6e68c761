"""All events of a run, as the root has them: in memory for those who read, and in its state folder."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

from node.errors import StateError
from node.waiting import Change

_IDLE_S = 3600.0


class Dedupe:
    """Events come at least once: a node says again what may have been lost. In one life they come in order."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}

    def is_new(self, event: object) -> bool:
        """Whether this event has not been seen. One that does not tell its life is never taken for a repetition."""
        if not isinstance(event, dict):
            return False
        node, life, seq = (event.get(key) for key in ("node", "life", "seq"))
        if not (isinstance(node, str) and isinstance(life, str) and isinstance(seq, int)):
            return True
        if seq <= self._last.get((node, life), 0):
            return False
        self._last[node, life] = seq
        return True


class EventBook:
    """Events in the order in which they reached the root, each once. With a file, a new life goes on in it."""

    def __init__(self, file: Path | None = None) -> None:
        self._events: list[str] = []
        self._seen = Dedupe()
        self._more = Change()
        self._closed = False
        self._error: OSError | None = None
        self._path = file
        self._file = None
        if file is not None:
            try:
                trim_torn_line(file)
                self._file = file.open("a+", encoding="utf-8", buffering=1)
                self._file.seek(0)
                for line in self._file:
                    self._take(line.rstrip("\n"))
            except OSError as error:
                raise self._state_error(error) from error

    def add(self, encoded: str) -> None:
        if self._take(encoded) and self._file is not None:
            try:
                self._file.write(encoded + "\n")
            except OSError as error:
                self._error = error  # raised when the events are to be kept: who speaks here may be anybody

    def _take(self, encoded: str) -> bool:
        """Whether it is new. What is no JSON object is nobody's event."""
        try:
            event = json.loads(encoded)
        except (ValueError, RecursionError):
            return False
        if not self._seen.is_new(event):
            return False
        self._events.append(encoded)
        self._more.happened()
        return True

    def sync(self) -> None:
        """All events so far are on the disk when this returns. Raises StateError."""
        if self._file is None:
            return
        try:
            if self._error is not None:
                raise self._error
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._state_error(error) from error

    def close(self) -> None:
        """Nothing more will come: those who read reach the end."""
        self._closed = True
        self._more.happened()
        if self._file is not None:
            self._file.close()
            self._file = None

    async def since(self, number: int) -> AsyncIterator[tuple[int, str]]:
        """Numbered events from `number` on, until the book is closed."""
        while True:
            while number < len(self._events):
                yield number, self._events[number]
                number += 1
            if self._closed:
                return
            await self._more.wait(_IDLE_S)

    def _state_error(self, error: OSError) -> StateError:
        remedy = "make room on the disk, or give --state a folder that can be written"
        return StateError(f"{self._path}: {error.strerror}; {remedy}")


def trim_torn_line(file: Path) -> None:
    """Takes off what was being written when the power went: the end of a file behind its last whole line."""
    if not file.exists():
        return
    with file.open("r+b") as lines:
        size = at = lines.seek(0, os.SEEK_END)
        while at > 0:
            start = max(0, at - 65536)
            lines.seek(start)
            found = lines.read(at - start).rfind(b"\n")
            if found >= 0:
                at = start + found + 1
                break
            at = start
        if at < size:
            lines.truncate(at)
