"""What a relay process keeps of a payload: a few chunks, however long the payload and slow the next hop."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hffm.v1 import control_pb2 as pb

from node.plan import Limits, Relay
from tests.federation import Federation, module
from tests.processes import in_processes
from tests.roles.clusters import cluster_plan, graph

PAYLOAD_BYTES = 240_000_000
RATES_BPS = {("d2", "d1"): 16e9}  # into the relay; out of it, a twentieth
LIMITS = Limits(heartbeat_s=1.0, lease_s=60, connect_s=60, join_s=150, round_s=150, stall_s=60)


def memory_bytes(pid: int, what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


async def one_round(running: Federation, pids: dict[str, int]) -> dict[str, Any]:
    await running.until("ready", LIMITS.join_s)
    before = memory_bytes(pids["d1"], "VmRSS")
    Path(f"/proc/{pids['d1']}/clear_refs").write_text("5")  # the peak counts from here on: proc(5)
    await running.control.StartRounds(pb.StartRoundsRequest(count=1))
    await running.until("ready", LIMITS.round_s)
    return {"before": before, "peak": memory_bytes(pids["d1"], "VmHWM"), "events": running.events}


@pytest.mark.parametrize("relay", [Relay.CUT_THROUGH, Relay.AGGREGATE])
def test_a_relay_keeps_a_few_chunks_of_240_megabytes(relay: Relay) -> None:
    plan = cluster_plan(
        graph("line", 3),
        relay,
        modules=(module("adapter", 1000, cluster=1),),
        rate_bps=800e6,
        rates_bps=RATES_BPS,
        payload_bytes=PAYLOAD_BYTES,
        limits=LIMITS,
    )
    found = in_processes(plan, one_round)
    passed = [e for e in found["events"] if e["kind"] == "transfer" and e["src"] == "d1" and e["dst"] == "d0"]
    assert sum(e["bytes"] for e in passed) == PAYLOAD_BYTES * (2 if relay is Relay.CUT_THROUGH else 1)
    assert found["peak"] - found["before"] < 40_000_000
