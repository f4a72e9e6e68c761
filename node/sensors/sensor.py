"""What a sensor is."""

from __future__ import annotations

from typing import Protocol


class Sensor(Protocol):
    name: str  # as reports call it: RAPL, NVML, board
    what: str  # which parts of the machine it covers
    poll_s: float  # it must be read at least so often

    def joules(self) -> float:
        """That all of the machine has used of late, counted from any point on. Raises OSError."""
        ...

    def part(self, cpu_share: float) -> float:
        """This process's part of it, from 0 to 1, given its part of the machine's busy processor time."""
        ...
