"""Sensors on made-up trees of /sys, and what a node's phases say of their energy."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node import meter as meters
from node.log import NodeLog
from node.meter import Meter
from node.sensors import find_sensors, share
from node.sensors.board import Board
from node.sensors.nvml import Nvml
from node.sensors.rapl import Rapl

RANGE_UJ = 262_143_328_850


def write(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")
    return folder


def zone(sys: Path, ident: str, name: str, energy_uj: int) -> Path:
    what = {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": RANGE_UJ}
    return write(sys / "class/powercap" / ident, **what)


@pytest.fixture(name="package")
def _package(tmp_path: Path) -> Path:
    """A machine of one package with memory; its cores, the platform and a second interface count the same again."""
    found = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 3_000_000)
    zone(tmp_path, "intel-rapl:0:2", "dram", 1_000_000)
    zone(tmp_path, "intel-rapl:1", "psys", 9_000_000)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 5_000_000)
    write(tmp_path / "class/powercap/intel-rapl", enabled=1)
    return found


def test_packages_and_memory_count_once(tmp_path: Path, package: Path):
    rapl = Rapl(tmp_path)
    assert rapl.what == "package-0, dram"
    for name in ("intel-rapl:0:0", "intel-rapl:1", "intel-rapl-mmio:0"):
        write(tmp_path / "class/powercap" / name, energy_uj=500_000_000)
    write(package, energy_uj=7_000_000)
    write(tmp_path / "class/powercap/intel-rapl:0:2", energy_uj=1_500_000)
    assert rapl.joules() == pytest.approx(2.5)


def test_a_counter_that_starts_anew_goes_on(tmp_path: Path, package: Path):
    write(package, energy_uj=RANGE_UJ - 1_000_000)
    rapl = Rapl(tmp_path)
    write(package, energy_uj=2_000_000)
    assert rapl.joules() == pytest.approx(3.0)
    write(package, energy_uj=2_500_000)
    assert rapl.joules() == pytest.approx(3.5)


def jetson(sys: Path) -> Path:
    rails = {}
    for i, (label, mv, ma) in enumerate((("VDD_IN", 5000, 2000), ("VDD_CPU_GPU_CV", 5000, 900)), 1):
        rails |= {f"in{i}_label": label, f"in{i}_input": mv, f"curr{i}_input": ma}
    shunts = {"in4_input": 400, "curr4_input": 2900, "in7_label": "sum of shunt voltages"}
    return write(sys / "class/hwmon/hwmon3", name="ina3221", **rails, **shunts)


def test_a_board_counts_what_comes_in_over_time(tmp_path: Path):
    chip, clock = jetson(tmp_path), SimpleNamespace(now=10.0)
    write(tmp_path / "class/hwmon/hwmon0", name="coretemp", power1_input=99_000_000)
    board = Board(tmp_path, lambda: clock.now)
    assert board.what == "VDD_IN"
    clock.now = 12.0
    assert board.joules() == pytest.approx(2 * 10)
    write(chip, curr1_input=4000)
    clock.now = 13.0
    assert board.joules() == pytest.approx(20 + 15)  # the mean of 10 W and 20 W


def test_a_monitor_that_has_powers_is_read_in_microwatts(tmp_path: Path):
    write(tmp_path / "class/hwmon/hwmon1", name="ina219", power1_input=3_500_000)
    clock = SimpleNamespace(now=0.0)
    board = Board(tmp_path, lambda: clock.now)
    clock.now = 2.0
    assert (board.what, board.joules()) == ("ina219 1", pytest.approx(7.0))


class Library(SimpleNamespace):
    """As pynvml: two processors."""

    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self) -> None:
        super().__init__(mj=[1000, 1000], users=[[], []], nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: 2)
        self.nvmlDeviceGetHandleByIndex = lambda i: i
        self.nvmlDeviceGetName = lambda i: f"H{i}"
        self.nvmlDeviceGetTotalEnergyConsumption = lambda i: self.mj[i]

    def nvmlDeviceGetComputeRunningProcesses(self, i: int) -> list[Any]:
        return [SimpleNamespace(pid=pid) for pid in self.users[i]]


def test_graphics_processors_are_divided_among_the_processes_that_compute_on_them():
    library = Library()
    nvml = Nvml(library)
    library.mj = [61_000, 9_000]
    assert nvml.joules() == 0  # nobody of ours
    library.users[0] = [os.getpid(), 1, 2]
    library.mj = [91_000, 99_000]
    assert nvml.joules() == pytest.approx(10)
    assert nvml.part(0.1) == 1

    def broken(_: int) -> int:
        raise library.NVMLError("GPU is lost")

    library.nvmlDeviceGetTotalEnergyConsumption = broken
    with pytest.raises(OSError, match="GPU is lost"):
        nvml.joules()
    with pytest.raises(OSError, match="GPU is lost"):
        Nvml(library)


def test_a_board_counts_its_processors_once(tmp_path: Path, package: Path):
    assert [s.name for s in find_sensors(tmp_path)[0]] == ["RAPL"]
    jetson(tmp_path)
    assert [s.name for s in find_sensors(tmp_path)[0]] == ["board"]
    assert find_sensors(tmp_path / "nothing") == ([], "")


def test_what_may_not_be_read_is_named(tmp_path: Path, package: Path):
    (package / "energy_uj").unlink()
    (package / "energy_uj").mkdir()  # root may read everything, but no folder
    found, why = find_sensors(tmp_path)
    assert found == []
    assert "energy_uj" in why


class Machine:
    """A made-up /proc/stat, and this process's own CPU seconds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc, self.own_s = folder, 0.0
        self.busy(0)
        monkeypatch.setattr(share.time, "process_time", lambda: self.own_s)
        monkeypatch.setattr(share.os, "sysconf", lambda _: 100)
        monkeypatch.setattr(meters, "_SHORTEST_S", 0.0)

    def busy(self, seconds: float) -> None:
        ticks = round(25 * seconds)
        (self.proc / "stat").write_text(f"cpu {ticks} {ticks} {ticks} 777 888 0 {ticks} 0 99 99\ncpu0 1 2\n")


@pytest.fixture(name="machine")
def _machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def phase(machine: Machine, package: Path, own_s: float, busy_s: float, energy_uj: int, **keys: Any) -> Any:
    """One phase of a node on a machine whose package stood at 5 J."""
    events: list[Any] = []
    sensors, _ = find_sensors(machine.proc)
    meter = Meter(NodeLog("d0", events.append), 4.0, sensors, machine.proc)
    with meter.phase("train", 3, **keys):
        machine.own_s += own_s
        machine.busy(busy_s)
        write(package, energy_uj=energy_uj)
    return events[0]


def test_nodes_divide_a_package_by_their_cpu_time(machine: Machine, package: Path):
    event = phase(machine, package, own_s=0.5, busy_s=2.0, energy_uj=105_000_000)
    assert event["energy_j"] == pytest.approx(25)
    assert event["energy_source"] == "RAPL: package-0, dram, 25 % of the busy CPU seconds"


def test_no_node_counts_more_than_the_package_used(machine: Machine, package: Path):
    """The machine's clock has coarser steps than the process's."""
    event = phase(machine, package, own_s=0.5, busy_s=0.49, energy_uj=105_000_000)
    assert event["energy_j"] == pytest.approx(100)


def test_short_and_virtual_phases_are_modelled(
    machine: Machine, package: Path, monkeypatch: pytest.MonkeyPatch
):
    event = phase(machine, package, 0.5, 2.0, 105_000_000, modelled_s=0.01)
    assert (event["energy_j"], event["energy_source"]) == (0.04, "model: modelled seconds x 4 W")
    monkeypatch.setattr(meters, "_SHORTEST_S", 60.0)
    event = phase(machine, package, 0.5, 2.0, 105_000_000)
    assert event["energy_source"] == "model: CPU seconds x 4 W"
    assert event["energy_j"] == pytest.approx(4 * event["cpu_s"])


def test_a_sensor_that_fails_gives_way_to_the_model(machine: Machine, package: Path):
    events: list[Any] = []
    sensors, _ = find_sensors(machine.proc)
    meter = Meter(NodeLog("d0", events.append), 4.0, sensors, machine.proc)
    with meter.phase("train", 0):
        (package / "energy_uj").unlink()
    assert events[0]["energy_source"].startswith("model: CPU seconds x 4 W (")
    assert "energy_uj" in events[0]["energy_source"]
