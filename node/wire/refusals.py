"""Who was refused, how often and why; whoever sends what must be refused again and again takes no part any more.

What is merely late, early or too much at a time does not count towards that, nor a connection that broke.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from node.errors import AccessDenied, HffmError, PayloadCorrupt, PayloadLate, PayloadRefused
from node.log import NodeLog
from node.wire.status import one_line

_COUNTED = (PayloadRefused, PayloadCorrupt)
_SAID_EACH = 10  # refusals of one peer for one reason; later ones are said at powers of two
_STRANGER = ""


class Refusals:
    """Of one node."""

    def __init__(self, log: NodeLog, known: Collection[str], most: int) -> None:
        """known: nodes of the plan; most: refused payloads of one node, with which it is excluded."""
        self._log = log
        self._known = known
        self._most = most
        self._counts: Counter[tuple[str, str]] = Counter()
        self._wrong: Counter[str] = Counter()  # those that count
        self._excluded: dict[str, str] = {}
        # Set by the role: what it does about a peer that is excluded, told with the reason.
        self.on_excluded: Callable[[str, str], None] = lambda peer, why: None
        # Likewise: what it does about a payload that counts, told with who sent it and why.
        self.on_wrong: Callable[[str, str], None] = lambda peer, why: None

    @contextmanager
    def watching(self, peer: str, call: str) -> Iterator[None]:
        """Notes an HffmError that is raised inside; raises AccessDenied for a peer that is excluded."""
        if why := self._excluded.get(peer):
            raise AccessDenied(f"'{one_line(peer)}' is excluded from this run: {why}")
        try:
            yield
        except HffmError as error:
            self._note(peer if peer in self._known else _STRANGER, call, error)
            raise

    def _note(self, peer: str, call: str, error: HffmError) -> None:
        kind, message = type(error).__name__, one_line(str(error))
        self._counts[peer, kind] += 1
        count = self._counts[peer, kind]
        if count <= _SAID_EACH or count & (count - 1) == 0:
            self._log.emit("refused", peer=peer, call=call, error=kind, message=message, count=count)
        if not isinstance(error, _COUNTED) or isinstance(error, PayloadLate) or peer == _STRANGER:
            return
        self._wrong[peer] += 1
        self.on_wrong(peer, message)
        if self._wrong[peer] == self._most:
            self._excluded[peer] = f"{self._most} of its payloads were refused, the last because {message}"
            self._log.emit("excluded", peer=peer, reason=self._excluded[peer])
            self.on_excluded(peer, self._excluded[peer])
