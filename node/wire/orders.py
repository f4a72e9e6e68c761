"""Commands of a parent at its child: each is taken once, in every life of the parent."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from hffm.v1 import membership_pb2 as pb

from node.waiting import Change
from node.wire.family import Command


@dataclass(frozen=True)
class Order:
    """A command of one life of the parent."""

    life: str
    number: int  # 0: it is not answered
    command: Command


class Orders:
    """Those that wait to be carried out."""

    def __init__(self, patience_s: float) -> None:
        """patience_s: between two looks at whether there is one."""
        self._patience_s = patience_s
        self._life = ""  # of the parent
        self._taken = 0  # number of the last command taken
        self._done = 0  # number of the last command done, said again after a broken connection
        self._waiting: deque[Order] = deque()
        self._more = Change()

    async def __aiter__(self) -> AsyncIterator[Order]:
        """In their order, without an end."""
        while True:
            while not self._waiting:
                await self._more.wait(self._patience_s)
            yield self._waiting.popleft()

    def meet(self, life: str) -> bool:
        """Whether this is a parent in a new life, which knows of no command that the one before it gave."""
        if life == self._life:
            return False
        self._life = life
        self._taken = self._done = 0
        self._waiting.clear()
        return True

    def take(self, number: int, command: Command) -> Order | None:
        """Takes each command once; one that comes again and is done is given back, to be answered again."""
        order = Order(self._life, number, command)
        if number == 0 or number > self._taken:
            self._taken = max(self._taken, number)
            if number and isinstance(command, pb.Install):
                self._waiting.clear()  # this node is late: rounds that are over are not done any more
            self._waiting.append(order)
            self._more.happened()
        elif number <= self._done:
            return Order(self._life, self._done, command)
        return None

    def mark_done(self, order: Order) -> bool:
        """Whether the parent is to be told."""
        if not order.number or order.life != self._life:
            return False
        self._done = max(self._done, order.number)
        return True
