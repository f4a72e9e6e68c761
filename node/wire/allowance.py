"""How much a child may say: what it says beyond that is read later, and waits in its own buffers until then.

A token bucket (RFC 2697 has one for packets): it fills steadily, and holds what a busy moment needs.
"""

from __future__ import annotations

import time

# Messages and events, for each node that speaks through the child. A round makes some twenty events per device, and
# a session that comes back after a break says again what was not kept.
_PER_S = 100.0
_AT_ONCE = 4000.0
_LONGEST_S = 1.0  # so that a command, or the end of the session, is not overlooked for long


class Allowance:
    def __init__(self, nodes: int) -> None:
        self._per_s, self._most = nodes * _PER_S, nodes * _AT_ONCE
        self._left = self._most
        self._at = time.monotonic()

    def take(self, count: int) -> float:
        """Seconds to wait before more is read; 0 as long as the allowance lasts."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        self._left -= count
        return min(_LONGEST_S, max(0.0, -self._left / self._per_s))
