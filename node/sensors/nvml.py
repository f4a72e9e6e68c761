"""NVIDIA Management Library: energy counters of graphics processors, Volta or newer.

Through the package nvidia-ml-py (`pip install nvidia-ml-py`), where it and the driver are installed.
"""

from __future__ import annotations

import importlib
import os
from typing import Any


class Nvml:
    name = "NVML"
    poll_s = 1.0  # who computes on a processor may change

    def __init__(self, library: Any = None) -> None:
        """library: in the place of the module pynvml. Raises OSError: there is none, or no processor counts."""
        try:
            self._nvml = library or importlib.import_module("pynvml")
        except ImportError as error:
            raise FileNotFoundError("nvidia-ml-py is not installed") from error
        try:
            self._nvml.nvmlInit()
            count = self._nvml.nvmlDeviceGetCount()
            devices = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(count)]
            self._last_mj = [(d, self._nvml.nvmlDeviceGetTotalEnergyConsumption(d)) for d in devices]
            self.what = ", ".join(str(self._nvml.nvmlDeviceGetName(d)) for d in devices)
        except self._nvml.NVMLError as error:
            raise OSError(str(error)) from error
        self._joules = 0.0

    def joules(self) -> float:
        """Of the processors that this process computes on, each divided by the number of processes that do."""
        try:
            for i, (device, last_mj) in enumerate(self._last_mj):
                now_mj = self._nvml.nvmlDeviceGetTotalEnergyConsumption(device)
                users = {p.pid for p in self._nvml.nvmlDeviceGetComputeRunningProcesses(device)}
                if os.getpid() in users:
                    self._joules += (now_mj - last_mj) / 1000 / len(users)
                self._last_mj[i] = (device, now_mj)
        except self._nvml.NVMLError as error:
            raise OSError(str(error)) from error
        return self._joules

    def part(self, cpu_share: float) -> float:
        return 1.0
