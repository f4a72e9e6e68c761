"""Power monitors on the supply of single-board computers, as the kernel's hwmon shows them.

An INA3221, as on NVIDIA's Jetson, has a voltage and a current per rail (Linux, Documentation/hwmon/ina3221.rst);
INA2xx, as on add-on boards for a Raspberry Pi, have a power (Documentation/hwmon/ina2xx.rst).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

_RAILS = 3  # an INA3221 has; its further channels are shunts and sums


class Board:
    name = "board"
    poll_s = 0.05

    def __init__(self, sys: Path = Path("/sys"), clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError: there is none, or it may not be read."""
        chips = [p for p in sorted((sys / "class/hwmon").glob("hwmon*")) if _name(p).startswith("ina")]
        rails = [rail for chip in chips for rail in _rails(chip)]
        # The rail by which all comes in has the others behind it.
        inputs = [rail for rail in rails if re.fullmatch(r"\w*_IN", rail.label)]
        self._rails = inputs or rails
        if not self._rails:
            raise FileNotFoundError("no power monitor")
        self.what = ", ".join(rail.label for rail in self._rails)
        self._clock = clock
        self._joules = 0.0
        self._at, self._watts = clock(), self._now_w()

    def joules(self) -> float:
        """The mean of two readings holds between them."""
        now, watts = self._clock(), self._now_w()
        self._joules += (now - self._at) * (watts + self._watts) / 2
        self._at, self._watts = now, watts
        return self._joules

    def part(self, cpu_share: float) -> float:
        return cpu_share

    def _now_w(self) -> float:
        return sum(rail.watts() for rail in self._rails)


class _Rail:
    def __init__(self, label: str, power: Path | None, voltage: Path, current: Path) -> None:
        self.label = label
        self._power, self._voltage, self._current = power, voltage, current

    def watts(self) -> float:
        if self._power is not None:
            return int(self._power.read_text()) / 1e6  # microwatts
        return (
            int(self._voltage.read_text()) * int(self._current.read_text()) / 1e6
        )  # millivolts, milliamperes


def _rails(chip: Path) -> list[_Rail]:
    found = []
    for i in range(1, _RAILS + 1):
        power, voltage, current = (chip / f"{kind}{i}_input" for kind in ("power", "in", "curr"))
        if power.exists() or (voltage.exists() and current.exists()):
            labels = (chip / f"{kind}{i}_label" for kind in ("power", "in"))
            label = next((p.read_text().strip() for p in labels if p.exists()), f"{_name(chip)} {i}")
            found.append(_Rail(label, power if power.exists() else None, voltage, current))
    return found


def _name(chip: Path) -> str:
    file = chip / "name"
    return file.read_text().strip() if file.exists() else ""
