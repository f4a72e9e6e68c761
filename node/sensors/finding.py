"""Which sensors this machine has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from node.sensors.board import Board
from node.sensors.nvml import Nvml
from node.sensors.rapl import Rapl
from node.sensors.sensor import Sensor


def find_sensors(sys: Path = Path("/sys")) -> tuple[list[Sensor], str]:
    """Those that can be read and count nothing twice; and why others cannot be read that are there."""
    found: list[Sensor] = []
    why: list[str] = []
    # The supply of a board feeds its processors too.
    for make in (lambda: Board(sys), lambda: Rapl(sys), Nvml):
        if found and isinstance(found[0], Board):
            break
        _try(make, found, why)
    return found, "; ".join(why)


def _try(make: Callable[[], Sensor], found: list[Sensor], why: list[str]) -> None:
    try:
        found.append(make())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        why.append(str(error).strip())
