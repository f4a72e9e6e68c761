"""Fifty-one nodes with ViLT-B/32 on this machine: seconds until they are up, and memory, by either launcher.

Memory is proportional set size: a page that n processes share counts 1/n for each (Linux, proc(5), smaps_rollup).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.contest import table
from tests.benchmarks.vilt_b32 import make_folder

NODES = 51
TIMEOUT_S = 900.0
SAMPLE_EVERY_S = 1.0
SCENARIO = """
name: start-up
seed: 1
rounds: 1
methods: [hf-fm-2]
topology: {{kind: tree, tiers: [cloud, edge], fanout: [10, 4]}}
channel: {{model: table, links: [{{from: "*", to: "*", rate_bps: 1e9, power_w: 1}}]}}
links: none
tasks: [{{name: art, source: builtin:art, answers: 10, samples_per_answer: 20}}]
partition: {{kind: iid}}
model: {{backbone: {folder}}}
training: {{batch_size: 4}}
limits: {{join_s: 600, round_s: 900}}
"""


@dataclass(frozen=True)
class Start:
    """Seconds count from the command."""

    joined_s: float  # until the last node had joined
    ready_s: float  # until the last device had its samples prepared
    joined_mb: float
    peak_mb: float  # until the end of the round
    done_s: float


def section(say: Callable[[str], None]) -> str:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder) / "vilt-b32")
        (Path(folder) / "start.yaml").write_text(SCENARIO.format(folder=Path(folder) / "vilt-b32"))
        for launcher in ("forked", "processes"):
            found = _start(Path(folder), launcher)
            say(f"{launcher}: {found}")
            figures = (found.joined_s, found.joined_mb, found.ready_s, found.peak_mb, found.done_s)
            rows.append([launcher, *(f"{figure:.1f}" for figure in figures)])
    head = ["launcher", "all joined s", "MB then", "all ready s", "peak MB", "round and run over s"]
    about = (
        f"1 cloud, 10 edge servers and 40 devices, {NODES} processes, with a ViLT-B/32 of random weights "
        "(447 MB), one round of training with adapters, batches of 4. From `hffm run` on; memory is the sum of "
        "their proportional set sizes."
    )
    return "\n\n".join(["## Starting 51 nodes with ViLT-B/32", about, table(head, rows)])


def _start(folder: Path, launcher: str) -> Start:
    out = folder / launcher
    command = ["-m", "orchestrator.cli", "run", str(folder / "start.yaml"), "--out", str(out)]
    began = time.time()
    with (folder / f"{launcher}.log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, *command, "--launcher", launcher], stdout=log, stderr=subprocess.STDOUT
        )
        joined_mb = peak_mb = 0.0
        while run.poll() is None:
            if time.time() > began + TIMEOUT_S:
                run.kill()
                raise TimeoutError(f"{command}: not done in {TIMEOUT_S:g} s")
            pids = {e["pid"] for e in _events(out) if e["kind"] == "joined"}
            now_mb = sum(map(_pss_mb, pids))
            if len(pids) == NODES:
                joined_mb = joined_mb or now_mb
            peak_mb = max(peak_mb, now_mb)
            time.sleep(SAMPLE_EVERY_S)
    if run.returncode != 0:
        raise RuntimeError((folder / f"{launcher}.log").read_text())
    events = list(_events(out))
    joined = [e["t"] for e in events if e["kind"] == "joined"]
    loaded = [e["t"] + e["wall_s"] for e in events if e["kind"] == "phase" and e["phase"] == "load"]
    return Start(max(joined) - began, max(loaded) - began, joined_mb, peak_mb, time.time() - began)


def _events(run: Path) -> list[dict[str, object]]:
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in (run / "events.jsonl").read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # the last line may not be whole yet
                found.append(json.loads(line))
    return found


def _pss_mb(pid: int) -> float:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


if __name__ == "__main__":
    print(section(print))
