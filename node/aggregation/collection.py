"""What an aggregator puts the updates of one module into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from node.aggregation.robust import Gathered
from node.aggregation.running_sum import RunningSum
from node.aggregation.update import Update
from node.payload import Values
from node.plan import Module


class Collection(Protocol):
    """The updates of one module in one round."""

    @property
    def lacking(self) -> str:
        """Why there is no result although updates have come; empty: there is one."""
        ...

    def has_any(self, contributors: Iterable[str]) -> bool:
        """Whether one of these is in it already."""
        ...

    def add(self, update: Update) -> None:
        """Raises PayloadRefused, and stays as it was."""
        ...

    def mean(self) -> Update:
        """The one update that stands for all; there must be one, and nothing lacking."""
        ...


def collection_for(module: Module, tier: str, before: Values, senders: int) -> Collection:
    """By the rule that the plan has for this module at this tier.

    before: [P], what the senders started from; only `norm-clip` looks at it. senders: how many there may be.
    """
    if module.robust is not None and tier in module.robust.tiers:
        return Gathered(module.robust, before, senders)
    return RunningSum(module.size, senders)
