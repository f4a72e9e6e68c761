"""What a round costs beside training and transfers, over the number of devices."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.benchmarks.contest import table

DEVICES = (10, 50, 200, 1000)
ROUNDS = 6
SCENARIO = """
name: overhead
seed: 1
rounds: {rounds}
methods: [hf-fm-2]
topology: {{kind: tree, tiers: [cloud, edge], fanout: [{edges}, {each}]}}
channel: {{model: table, links: [{{from: "*", to: "*", rate_bps: 1e9, power_w: 1}}]}}
links: none
nodes_per_process: 50
tasks: [{{name: art, source: builtin:art, answers: 4, samples_per_answer: 60}}]
partition: {{kind: iid}}
device: {{sample_s: 0}}
training: {{left_out: true}}
limits: {{join_s: 300, round_s: 300, connect_s: 120}}
"""


def section(say: Callable[[str], None]) -> str:
    rows = []
    for devices in DEVICES:
        wall_s = measure(devices)
        say(f"{devices} devices: {wall_s:.2f} s per round")
        rows.append([str(devices), f"{wall_s:.2f}", f"{1e3 * wall_s / devices:.1f}"])
    about = (
        "Devices that do not train, fifty to a process, ten to an edge server, links as fast as the machine; "
        "modules of the small model. Median of five rounds after the first."
    )
    return "\n\n".join(["## Overhead of a round", about, table(["devices", "s", "ms per device"], rows)])


def measure(devices: int) -> float:
    """Median wall clock of the rounds of the cloud's children, per round of the devices."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "overhead.yaml"
        scenario.write_text(SCENARIO.format(rounds=ROUNDS, edges=devices // 10, each=10))
        command = ["-m", "orchestrator.cli", "run", str(scenario), "--out", str(Path(folder) / "run")]
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=1800)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return _per_round(Path(folder) / "run" / "events.jsonl")


def _per_round(events: Path) -> float:
    ends: dict[int, float] = {}
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "round" and event["tier"] == "cloud":
            ends[event["round"]] = event["wall_s"] / event["rounds"]
    return median(wall for number, wall in ends.items() if number > min(ends))


if __name__ == "__main__":
    print(section(print))
