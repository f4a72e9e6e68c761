"""Which part of what a machine uses is this process's."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Share:
    """This process's part of the time in which the machine's processors were busy: what many nodes of one machine
    count of a shared sensor adds up to no more than it shows, idle processors included."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._stat = proc / "stat"
        self._own_s, self._busy_s = time.process_time(), self._busy()

    def until_now(self) -> float:
        """Since this was made. Raises OSError."""
        own_s = time.process_time() - self._own_s
        busy_s = self._busy() - self._busy_s
        return own_s / max(own_s, busy_s) if own_s > 0 else 0.0

    def _busy(self) -> float:
        """user, nice, system, irq and softirq of all processors; in steps of a tick: proc_stat(5)."""
        user, nice, system, _idle, _iowait, irq, softirq = map(
            int, self._stat.read_text().splitlines()[0].split()[1:8]
        )
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
