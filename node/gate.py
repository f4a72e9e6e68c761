"""Turns at computing, for nodes that share a machine.

As many nodes as there are slots compute at once. A slot is a lock on a file, so that one held by a process that
was killed is free again at once.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT = "HFFM_GATE"  # "SLOTS:FOLDER", set by a launcher of several nodes on one machine
_POLL_S = 0.01


@contextmanager
def turn() -> Iterator[None]:
    """Waits for a slot, in a thread that may block, and holds it inside the `with`; at once without a gate."""
    setting = os.environ.get(ENVIRONMENT)
    if not setting:
        yield
        return
    slots, folder = setting.split(":", 1)
    files = [(Path(folder) / f"slot-{i}").open("w") for i in range(int(slots))]
    try:
        while not any(_try_lock(file.fileno()) for file in files):
            time.sleep(_POLL_S)
        yield
    finally:
        for file in files:
            file.close()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
