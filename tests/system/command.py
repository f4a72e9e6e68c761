"""The command `hffm` as a user runs it: real processes, in a folder of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HFFM = [sys.executable, "-W", "error", "-m", "orchestrator.cli"]
PATIENCE_S = 120.0

# Small enough for a test: six devices in two clusters, one task with few samples.
SMALL = """
name: small
seed: 5
rounds: 2
methods: [star, edge-only, hf-fm-2, hf-fm+d2d-2]
topology:
  kind: tree
  tiers: [cloud, edge]
  fanout: [2, 3]
  d2d: {graph: line, heads: [1, 4]}
channel:
  model: table
  links:
    - {from: device, to: edge, both: true, rate_bps: 50e6, power_w: 0.6}
    - {from: device, to: device, rate_bps: 80e6, power_w: 0.6}
    - {from: device, to: cloud, both: true, rate_bps: 10e6, delay_s: 0.02, power_w: 0.8}
    - {from: edge, to: cloud, both: true, rate_bps: 10e6, delay_s: 0.02, power_w: 0.8}
tasks:
  - {name: art, source: builtin:art, samples_per_answer: 12, test_fraction: 0.25}
partition: {kind: iid}
limits: {lease_s: 5, connect_s: 20}
"""


def hffm(folder: Path, *arguments: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end."""
    return subprocess.run(
        [*HFFM, *arguments], cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Starts one command, in a process group of its own."""
    return subprocess.Popen(
        [*HFFM, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def scenario(folder: Path, text: str = SMALL) -> str:
    (folder / "small.yaml").write_text(text)
    return "small.yaml"


def summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Waits for a condition; fails when it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not in {timeout_s:g} s: {what}"
        time.sleep(0.05)
    return value


def processes_of(folder: Path) -> list[int]:
    """Processes of this user that have a file of the folder open or in their command line, but for zombies."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _belongs(entry, str(folder)):
            found.append(int(entry.name))
    return found


def _belongs(process: Path, folder: str) -> bool:
    try:
        if folder in (process / "cmdline").read_text():
            return True
        return any(str(link.readlink()).startswith(folder) for link in (process / "fd").iterdir())
    except OSError:
        return False


def kill(process: subprocess.Popen[str], number: signal.Signals) -> None:
    os.kill(process.pid, number)
