"""What sensors count during one phase of work."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from node.sensors.sensor import Sensor
from node.sensors.share import Share


class Reading:
    """What the sensors count from now on; a thread of its own reads them as often as they need it."""

    joules: float | None = None  # None: nothing that could be counted
    source = ""
    why = ""

    def __init__(self, sensors: Sequence[Sensor], proc: Path) -> None:
        self._sensors = sensors
        self._ended = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="sensors", daemon=True)
        try:
            self._share = Share(proc)
            self._before = [sensor.joules() for sensor in sensors]
            self._poller.start()
        except (OSError, ValueError) as error:
            self.why = str(error)

    def _poll(self) -> None:
        every_s = min(sensor.poll_s for sensor in self._sensors)
        while not self._ended.wait(every_s):
            try:
                for sensor in self._sensors:
                    sensor.joules()
            except (OSError, ValueError):
                return  # the last reading says so too

    def end(self) -> Reading:
        self._ended.set()
        if self.why:
            return self
        self._poller.join()
        try:
            after = [sensor.joules() for sensor in self._sensors]
            share = self._share.until_now()
        except (OSError, ValueError) as error:
            self.why = str(error)
            return self
        parts = [
            (sensor, (b - a) * sensor.part(share))
            for sensor, a, b in zip(self._sensors, self._before, after, strict=True)
        ]
        used = [(sensor, joules) for sensor, joules in parts if joules > 0]
        if used:
            self.joules = sum(joules for _, joules in used)
            names = ", ".join(sensor.name for sensor, _ in used)
            covered = ", ".join(sensor.what for sensor, _ in used)
            self.source = f"{names}: {covered}, {100 * share:.0f} % of the busy CPU seconds"
        return self
