"""How many children must have done something, and the wait until they have."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from node.errors import HffmError, QuorumError
from node.plan import Plan
from node.waiting import Change
from node.wire.child import Child


class Quorum:
    """Of the children of one parent."""

    def __init__(self, plan: Plan, node: str, children: Mapping[str, Child], changed: Change) -> None:
        """changed: happens with whatever a child says or does."""
        self._limits = plan.limits
        self._node = node
        self._children = children
        self._changed = changed

    async def there(self, deadline_s: float) -> None:
        """Waits until the quorum of the children is there; QuorumError at the deadline."""
        needed, deadline = self._needed, time.monotonic() + deadline_s
        while sum(c.connected and c.ready and not c.gone for c in self._children.values()) < needed:
            if time.monotonic() >= deadline:
                missing = {
                    c.id: c.gone or "not there"
                    for c in self._children.values()
                    if c.gone or not (c.connected and c.ready)
                }
                raise self._too_few(missing, needed, deadline_s)
            await self._changed.wait(deadline - time.monotonic())

    @property
    def _needed(self) -> int:
        return math.ceil(self._limits.quorum * len(self._children) - 1e-9)

    async def until(
        self,
        satisfied: Callable[[Child], bool],
        deadline_s: float,
        what: str,
        asked: Callable[[Child], bool] = lambda child: True,
    ) -> dict[str, str]:
        """Waits for all children that were asked and are not gone; {child that is missing: why}."""
        needed, deadline = self._needed, time.monotonic() + deadline_s
        while True:
            out = {
                c.id: c.gone or "it came back meanwhile"
                for c in self._children.values()
                if c.gone or not asked(c)
            }
            waiting = [c for c in self._children.values() if c.id not in out and not satisfied(c)]
            missing = out | {c.id: what for c in waiting}
            left_s = deadline - time.monotonic()
            if (not waiting or left_s <= 0) and len(self._children) - len(missing) >= needed:
                return missing
            if len(self._children) - len(out) < needed:
                raise self._too_few(missing, needed, None)
            if left_s <= 0:
                # A slow link that moves is not cut; one that stalls is.
                left_s = max(c.moved_at for c in waiting) + self._limits.stall_s - time.monotonic()
                if left_s <= 0:
                    raise self._too_few(missing, needed, deadline_s)
            await self._changed.wait(left_s)

    def _too_few(self, missing: dict[str, str], needed: int, deadline_s: float | None) -> HffmError:
        """The error of a child that failed, if that is why there are too few."""
        failure = next((c.error for c in self._children.values() if c.error), None)
        if failure is not None and self._limits.on_failed_round == "stop":
            return failure
        when = "" if deadline_s is None else f" after {deadline_s:g} s"
        who = "; ".join(f"'{c}': {why}" for c, why in list(missing.items())[:3])
        rest = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return QuorumError(
            f"'{self._node}' has {len(self._children) - len(missing)} of its {len(self._children)} children"
            f"{when} and needs {needed}: {who}{rest}"
        )
