"""Star rounds of this system, of Flower and of bare sockets, side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.contest import Contender, Outcome, contest, table

PEERS = Path(__file__).parent / "peers"
# As the launchers of this project give them to nodes.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_TOP_PAD_": "16777216",
}
OURS, TLS = "hffm", "hffm, mutual TLS"
FLOWER, TUNED, FLAT = "Flower", "Flower, same allocator settings", "Flower, one flat array"
SOCKETS = "bare sockets"


def section(peers: str | None, turns: int, say: Callable[[str], None]) -> str:
    """`peers`: Python of the environment that has flwr; None leaves Flower out."""
    parts = ["## A star round", _ABOUT]
    for clients in (8, 40):
        outcome = contest(_contenders(clients, peers), turns, say)
        parts += [f"### {clients} clients", _table(outcome)]
    return "\n\n".join(parts)


_ABOUT = """Each client sends a module of 98 float32 tensors, 6 MB, the server averages and sends the mean back.
hffm: real nodes with identities, digests, exact sums and events, without TLS unless said, no journal.
Flower: `start_server` and `start_client`. Seconds and CPU seconds are per round;
memory is the server's peak above its idle."""


def _contenders(clients: int, peers: str | None) -> dict[str, Contender]:
    ours = [sys.executable, "-m", "tests.benchmarks.star", "--clients", str(clients), "--rounds", "6"]
    found: dict[str, Contender] = {
        OURS: lambda: run(ours, ALLOCATOR),
        TLS: lambda: run([*ours, "--tls"], ALLOCATOR),
    }
    if peers is not None:
        flower = [peers, str(PEERS / "flower.py"), "--clients", str(clients), "--rounds", "4"]
        found[FLOWER] = lambda: run(flower)
        found[TUNED] = lambda: run(flower, ALLOCATOR)
        found[FLAT] = lambda: run([*flower, "--flat"])
    bare = [sys.executable, str(PEERS / "sockets.py"), "--clients", str(clients), "--rounds", "6"]
    found[SOCKETS] = lambda: run(bare)
    return found


def run(command: list[str], environment: Mapping[str, str] | None = None) -> dict[str, float]:
    """A peer's script, whose last line is its figures."""
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    return figures_of(done.stdout)


def figures_of(output: str) -> dict[str, float]:
    """From the last line of what a contender has said."""
    return figures(json.loads(output.strip().splitlines()[-1]))


def figures(said: Mapping[str, Any]) -> dict[str, float]:
    return {
        "wall_s": median(said["wall_s"]),
        "server_cpu_s": said["server_cpu_s"],
        "memory_mb": said["peak_mb"] - said["idle_mb"],
    }


def _table(outcome: Outcome) -> str:
    rows = []
    for name in outcome.turns:
        wall, cpu, memory = (outcome.typical(name, key) for key in ("wall_s", "server_cpu_s", "memory_mb"))
        ratios = [outcome.ratio(name, OURS, key) for key in ("wall_s", "server_cpu_s", "memory_mb")]
        rows.append([name, f"{wall:.2f}", ratios[0], f"{cpu:.2f}", ratios[1], f"{memory:.0f}", ratios[2]])
    head = ["", "s", "over hffm", "server CPU s", "over hffm", "server MB", "over hffm"]
    return table(head, rows)
