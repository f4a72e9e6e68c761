"""Seconds and joules of what a node does, by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from node.log import NodeLog
from node.sensors import Reading, Sensor, find_sensors

# Shorter phases are modelled: the clock of the machine's busy time has steps of 10 ms.
_SHORTEST_S = 0.1


class Meter:
    """Measures phases and logs them, each joule with its source."""

    def __init__(
        self,
        log: NodeLog,
        watts: float,
        sensors: Sequence[Sensor] | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        """watts: the draw of this class of device when busy, for where no sensor is found; sensors: default: those
        of this machine."""
        self._log = log
        self._watts = watts
        self._sensors, self._why = find_sensors() if sensors is None else (list(sensors), "")
        self._proc = proc

    @contextmanager
    def phase(self, name: str, round_index: int, modelled_s: float | None = None) -> Iterator[None]:
        """Wall and CPU seconds of the calling thread, which runs the whole phase, as an event `phase`.

        modelled_s: computing time of the device that this stands for. The thread rests for what is left of it,
        and it stands in place of the CPU seconds.

        Energy is what sensors count meanwhile, divided among all processes of this machine by their CPU seconds
        (`node.sensors.share`), else CPU seconds x the device class's watts.
        """
        measured = modelled_s is None and self._sensors
        reading = Reading(self._sensors, self._proc) if measured else None
        start, wall, cpu = time.time(), time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            found = reading.end() if reading is not None else None
        cpu_s = time.thread_time() - cpu
        if modelled_s is not None:
            time.sleep(max(0.0, modelled_s - (time.perf_counter() - wall)))
            cpu_s = modelled_s
        wall_s = time.perf_counter() - wall
        if found is None or found.joules is None or wall_s < _SHORTEST_S:
            why = found.why if found is not None else self._why
            seconds = "CPU" if modelled_s is None else "modelled"
            energy_j, source = cpu_s * self._watts, f"model: {seconds} seconds x {self._watts:g} W"
            source += f" ({why})" if why else ""
        else:
            energy_j, source = found.joules, found.source
        self._log.emit(
            "phase",
            t=start,
            phase=name,
            round=round_index,
            wall_s=wall_s,
            cpu_s=cpu_s,
            energy_j=energy_j,
            energy_source=source,
        )
