"""What a server holds: over the number of its clients, and beside one large module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks import star
from tests.benchmarks.contest import table
from tests.benchmarks.relays import QuickLearner
from tests.federation import Federation
from tests.processes import in_processes

CLIENTS = (8, 40, 100, 200)
LARGE_VALUES = 87_500_000  # 350 MB
MB = 1e6


def section(say: Callable[[str], None]) -> str:
    parts = ["## Memory of a server over its clients", _OVER_CLIENTS, _over_clients(say)]
    parts += ["## One module of 350 MB", _LARGE, _large(say)]
    return "\n\n".join(parts)


_OVER_CLIENTS = (
    "The star round above with more clients; MB of the server's peak over three rounds, above its idle."
)
_LARGE = """One device, one server. MB above idle, when both hold one version. A sender needs no more buffer;
a child that fetches a version needs the new one (350 MB); a server that adds up needs what comes in (350 MB) and
its exact sum of 64-bit integers (700 MB). What is beyond those buffers is the last column."""


def _over_clients(say: Callable[[str], None]) -> str:
    rows = []
    for clients in CLIENTS:
        found = star.measure(clients, 3)
        above = found["peak_mb"] - found["idle_mb"]
        say(f"{clients} clients: {above:.0f} MB above idle")
        rows.append([str(clients), f"{found['idle_mb']:.0f}", f"{above:.0f}"])
    return table(["clients", "idle", "above"], rows)


def _large(say: Callable[[str], None]) -> str:
    module = star.star_module(LARGE_VALUES)
    one_mb = 4 * LARGE_VALUES / MB
    found = in_processes(star.star_plan(1, 0, module), _peaks, QuickLearner)
    # The device trains a vector of its own beside the one it holds, and fetches the result.
    buffers = {"cloud": 3 * one_mb, "device-0": 2 * one_mb}
    rows = []
    for node, peak in found.items():
        say(f"{node}: {peak:.0f} MB above idle")
        rows.append([node, f"{peak:.0f}", f"{buffers[node]:.0f}", f"{peak - buffers[node]:.0f}"])
    return table(["", "above idle", "buffers", "beyond"], rows)


async def _peaks(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    await running.until("ready", star.PATIENCE_S)
    idle = {node: star.memory_mb(pid, "VmRSS") for node, pid in pids.items()}
    await running.rounds(1, star.PATIENCE_S)
    return {node: star.memory_mb(pid, "VmHWM") - idle[node] for node, pid in pids.items()}
