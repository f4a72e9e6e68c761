"""Running Average Power Limit: energy counters of the processor packages and their memory, of Intel and AMD.

Linux, Documentation/power/powercap/powercap.rst. The folders lie side by side: intel-rapl:0 of a package,
intel-rapl:0:1 of a part of it. Reading them takes root since Linux 5.10.
"""

from __future__ import annotations

import re
from pathlib import Path

_ZONE = re.compile(r"intel-rapl:\d+(:\d+)?")  # not intel-rapl-mmio, which counts the same once more


class Rapl:
    name = "RAPL"
    poll_s = 60.0  # a counter of 2^32 times 15 uJ starts anew after two minutes at 500 W

    def __init__(self, sys: Path = Path("/sys")) -> None:
        """Raises OSError: there is none, or it may not be read."""
        zones = sorted(p for p in (sys / "class/powercap").glob("intel-rapl:*") if _ZONE.fullmatch(p.name))
        self._counters = [_Counter(zone) for zone in zones if _is_counted(zone)]
        if not self._counters:
            raise FileNotFoundError("no package has a counter")
        self.what = ", ".join(counter.zone_name for counter in self._counters)

    def joules(self) -> float:
        return sum(counter.joules() for counter in self._counters)

    def part(self, cpu_share: float) -> float:
        return cpu_share


def _is_counted(zone: Path) -> bool:
    """Packages, and memory, which is not in them; cores and graphics are, and `psys` has all of it once more."""
    return re.fullmatch(r"package.*|dram", (zone / "name").read_text().strip()) is not None


class _Counter:
    """One zone; the counter starts anew at max_energy_range_uj."""

    def __init__(self, zone: Path) -> None:
        self.zone_name = (zone / "name").read_text().strip()
        self._file = zone / "energy_uj"
        self._range_uj = int((zone / "max_energy_range_uj").read_text())
        self._last_uj = int(self._file.read_text())
        self._total_uj = 0

    def joules(self) -> float:
        now_uj = int(self._file.read_text())
        passed_uj = now_uj - self._last_uj
        self._total_uj += passed_uj if passed_uj >= 0 else passed_uj + self._range_uj
        self._last_uj = now_uj
        return self._total_uj / 1e6
