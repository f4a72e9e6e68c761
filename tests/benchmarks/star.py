"""One star round: N clients send a module of 98 float32 tensors, 6 MB, the server averages and sends the mean back.

    python -m tests.benchmarks.star [--clients 8 40] [--rounds 8]

The nodes are the real ones, each a process of its own, with every check that production use needs; training takes
no time. A round's wall clock is the server's, from the command to the children until all have installed the mean.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from node.plan import Limits, Module, Plan, Tensor
from orchestrator.run.certificates import certificates_for_a_run
from tests.benchmarks.relays import QuickLearner
from tests.federation import Federation, make_plan
from tests.processes import in_processes

TENSORS = 98
VALUES = 1_500_000  # 6 MB
PATIENCE_S = 300.0
LIMITS = Limits(heartbeat_s=1.0, lease_s=30.0, connect_s=60.0, join_s=120.0, round_s=120.0, stall_s=30.0)


def star_module(values: int = VALUES, tensors: int = TENSORS) -> Module:
    each, rest = divmod(values, tensors)
    shapes = [each + (i < rest) for i in range(tensors)]
    made = tuple(Tensor(name=f"layer.{i:02}", shape=(size,), init_std=0.1) for i, size in enumerate(shapes))
    return Module(name="adapter", tensors=made, periods={"cloud": 1})


async def rounds(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    """Figures of the server over the plan's rounds, the first of which, that opens connections, is left out."""
    server = pids[running.plan.root.id]
    await running.until("ready", PATIENCE_S)
    idle_mb = memory_mb(server, "VmRSS")
    await running.rounds(1, PATIENCE_S)
    count = running.plan.rounds - 1
    before = cpu_s(server), all_cpu_s(pids)
    await running.rounds(count, PATIENCE_S)
    return {
        "wall_s": [e["wall_s"] for e in by_round(running)][1:],
        "server_cpu_s": (cpu_s(server) - before[0]) / count,
        "all_cpu_s": (all_cpu_s(pids) - before[1]) / count,
        "idle_mb": idle_mb,
        "peak_mb": memory_mb(server, "VmHWM"),
    }


def by_round(running: Federation) -> list[dict[str, Any]]:
    """Of each round: its own wall clock and that of handing its result out."""
    done = {e["round"]: e["wall_s"] for e in running.kind("installed")}
    return [{"wall_s": e["wall_s"] + done[e["round"]]} for e in running.kind("round") if e["round"] in done]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def all_cpu_s(pids: dict[str, int]) -> float:
    return sum(cpu_s(pid) for pid in pids.values())


def memory_mb(pid: int, field: str) -> float:
    """A field of the kernel's status of a process, in MB of 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(field)


def star_plan(clients: int, count: int, module: Module) -> Plan:
    devices = [f"device-{i}" for i in range(clients)]
    return make_plan(
        {"cloud": None, **dict.fromkeys(devices, "cloud")},
        {"cloud": "cloud"},
        (module,),
        rounds=count + 1,
        limits=LIMITS,
        links_backend="none",
    )


def measure(clients: int, count: int, *, tls: bool = False) -> dict[str, Any]:
    plan = star_plan(clients, count, star_module())
    if not tls:
        return dict(in_processes(plan, rounds, QuickLearner))
    with tempfile.TemporaryDirectory() as folder:
        certificates_for_a_run(plan, Path(folder))
        return dict(in_processes(plan, rounds, QuickLearner, Path(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--clients", nargs="+", type=int, default=[8, 40])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    for clients in options.clients:
        found = measure(clients, options.rounds, tls=options.tls)
        found |= {"clients": clients, "median_s": median(found["wall_s"])}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
