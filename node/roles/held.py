"""The version of one module that a node holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from node.aggregation import Update
from node.payload import Payload, Values
from node.plan import Module


@dataclass(frozen=True)
class Held:
    """The version of one module that a node holds.

    A weight above 0 says that it is a result which the parent has not given back yet as part of its own.
    """

    module: Module
    values: Values
    round: int  # -1: the initial version
    weight: float = 0.0
    contributors: tuple[str, ...] = ()

    @cached_property
    def payload(self) -> Payload:
        return Payload(self.module, self.values)

    @property
    def update(self) -> Update:
        return Update(self.values, self.weight, self.contributors)
