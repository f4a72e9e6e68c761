"""One child as its parent knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from hffm.v1 import membership_pb2 as pb

from node.errors import HffmError


@dataclass
class Child:
    """One child as its parent knows it."""

    id: str
    samples: dict[str, int] = field(default_factory=dict)  # module -> training samples below it
    statuses: Sequence[pb.NodeStatus] = ()
    heard_at: float = 0.0  # monotonic
    ready: bool = False
    connection: int = 0  # counts the sessions that it opened
    connected: bool = False
    gone: str = ""  # why it takes no part any more
    error: HffmError | None = None  # its own, when it failed
    pending: list[pb.ParentMessage] = field(default_factory=list)  # commands that it has not done yet
    done: int = 0  # number of the last command done
    outbox: asyncio.Queue[pb.ParentMessage | None] = field(default_factory=asyncio.Queue)
    life: str = ""  # of its process
    since: int = 0  # it takes part in commands after this one
    events_heard: int = 0  # of this life
    events_kept: int = 0  # of them, as it has been told
    moved_at: float = 0.0  # monotonic: when something last moved below it
    moved_bytes: int = 0
