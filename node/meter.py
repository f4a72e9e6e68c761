"""Seconds and joules of what a node does, by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from node.log import NodeLog


class Meter:
    """Measures phases and logs them."""

    def __init__(self, log: NodeLog, watts: float) -> None:
        self._log = log
        self._watts = watts

    @contextmanager
    def phase(self, name: str, round_index: int, modelled_s: float | None = None) -> Iterator[None]:
        """Wall and CPU seconds of the calling thread, which runs the whole phase, as an event `phase`.

        modelled_s: computing time of the device that this stands for. The thread rests for what is left of it,
        and it stands in place of the CPU seconds.

        Energy is CPU seconds x the device class's watts: a process's share of a sensor that reads the whole
        package cannot be told on a machine that many nodes share.
        """
        start, wall, cpu = time.time(), time.perf_counter(), time.thread_time()
        yield
        cpu_s = time.thread_time() - cpu
        if modelled_s is not None:
            time.sleep(max(0.0, modelled_s - (time.perf_counter() - wall)))
            cpu_s = modelled_s
        self._log.emit(
            "phase",
            t=start,
            phase=name,
            round=round_index,
            wall_s=time.perf_counter() - wall,
            cpu_s=cpu_s,
            energy_j=cpu_s * self._watts,
            energy_source=f"model: {'CPU' if modelled_s is None else 'modelled'} seconds x {self._watts:g} W",
        )
