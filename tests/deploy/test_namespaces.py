"""Real namespaces on this host: shaped by its kernel, removed in the end, whatever the end was."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.launch import LAUNCHERS
from deploy.links import leftovers
from deploy.links.addressing import place_in_block
from deploy.links.capabilities import probe
from deploy.links.commands import batch, run
from deploy.links.netns import Network
from deploy.links.probing import Probing
from deploy.links.tc import update_lines
from node.errors import LinksError
from node.plan import Link, LinkKind, Move, Plan, dump_plan
from node.wire.operator import Operator
from orchestrator.run.checking import check
from tests.deploy.machine import needs
from tests.federation import make_plan, module

RATE = 40e6
_OURS = f"test-namespaces-{os.getpid()}"


def small(backend: str, later_bps: Sequence[float] = ()) -> Plan:
    """Two edge servers without devices, so that nothing has to be trained. later_bps: of rounds from 1 on."""
    parents = {"cloud": None, "edge-0": "cloud", "edge-1": "cloud"}
    tiers = {"cloud": "cloud", "edge-0": "edge", "edge-1": "edge"}
    first, *moves = (
        tuple(
            Link(src=a, dst=b, kind=LinkKind.BACKHAUL, rate_bps=rate_bps, delay_s=0.02)
            for edge in ("edge-0", "edge-1")
            for a, b in ((edge, "cloud"), ("cloud", edge))
        )
        for rate_bps in (RATE, *later_bps)
    )
    plan = make_plan(
        parents,
        tiers,
        (module(edge=1, cloud=1),),
        first,
        links_backend=backend,
        moves=tuple(Move(first_round=r, links=links) for r, links in enumerate(moves, 1)),
        rounds=1 + len(moves),
        scenario=_OURS,
    )
    return place_in_block(plan, leftovers.taken_blocks())


def ours() -> set[str]:
    """The networks of this module's own plans: others may be at work on this machine."""
    return {found.ident for found in leftovers.find() if found.about.get("scenario") == _OURS}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    needs("tbf")
    yield
    for ident in ours():
        leftovers.remove(ident)
        pytest.fail(f"{ident} was left behind")


def test_the_kernel_shapes_each_link():
    network = Network.create(small("tbf"))
    try:
        shown = run("tc", "-n", network.namespace("cloud"), "qdisc", "show", "dev", "eth0")
        assert shown.count("tbf") == 2
        assert "rate 40Mbit" in shown
        host = leftovers.interface(network.ident)
        assert host in run("ip", "-br", "link")
    finally:
        network.remove()
    assert host not in run("ip", "-br", "link")
    network.remove()  # once more does no harm


def test_a_rate_changes_under_a_transfer_that_goes_on(tmp_path: Path):
    """In place: what the queue has let through and holds stays, and nothing is dropped."""
    plan = small("tbf", [8e6])
    network = Network.create(plan)
    try:
        before, after, seconds = asyncio.run(_slowed(plan, network, tmp_path))
    finally:
        network.remove()
    assert (before["options"]["rate"], after["options"]["rate"]) == (40e6 / 8, 8e6 / 8)
    assert after["handle"] == before["handle"]
    assert after["bytes"] >= before["bytes"] > 100_000
    assert after["drops"] == before["drops"]
    assert seconds > 1.1  # 4 MB would take 0.8 s


async def _slowed(plan: Plan, network: Network, folder: Path) -> tuple[Any, Any, float]:
    (folder / "plan.json").write_text(dump_plan(plan))
    async with Probing(plan, folder / "plan.json", network.namespace) as probing:
        await probing.send("edge-0", "cloud", 1000)  # connects
        sending = asyncio.ensure_future(probing.send("edge-0", "cloud", 4_000_000))
        before = await asyncio.to_thread(_flowing, network)
        lines = update_lines(plan, "edge-0", 0, 1, "tbf")
        assert len(lines) == 1
        batch("tc", "-n", network.namespace("edge-0"), lines=lines)
        return before, _queue(network, "edge-0"), await sending


def _flowing(network: Network) -> Any:
    while (found := _queue(network, "edge-0"))["bytes"] < 100_000:
        time.sleep(0.01)
    return found


def _queue(network: Network, node: str) -> Any:
    """The one queue of an edge server, with its counters."""
    shown = json.loads(run("tc", "-n", network.namespace(node), "-s", "-j", "qdisc", "show", "dev", "eth0"))
    return next(entry for entry in shown if entry["kind"] == "tbf")


def test_payloads_take_as_long_as_the_rate_says():
    samples = asyncio.run(check(small("tbf"), 1_000_000))
    assert len(samples) == 4
    for sample in samples:
        # 0.2 s of airtime and more than half of the delay, at any load of this machine; unshaped it would be 10 ms.
        assert 0.2 < sample.seconds < 5
        assert sample.small_s >= 0.02


def test_netem_runs_or_says_what_is_missing():
    missing = probe().lacks("netem")
    if missing is None:
        Network.create(small("netem")).remove()
        return
    with pytest.raises(LinksError, match="CONFIG_NET_SCH_NETEM"):
        Network.create(small("netem"))


@pytest.mark.parametrize("launcher", ["namespaces", "namespaces-processes"])
def test_nodes_run_in_namespaces_and_change_their_rates_with_the_rounds(launcher: str, tmp_path: Path):
    plan = small("tbf", [8e6, 4e6])
    plan_file = tmp_path / "plan.json"
    plan_file.write_text(dump_plan(plan))
    nodes = LAUNCHERS[launcher]()
    try:
        (logs := tmp_path / "logs").mkdir()
        nodes.start(plan, plan_file, logs)
        asyncio.run(_play(plan, 0))
        assert nodes.ended() == {}
        (found,) = [f for f in leftovers.find() if f.about.get("pid") == os.getpid()]
        assert found.in_use
        assert len(found.namespaces) == 4
        inside = run("ip", "netns", "pids", leftovers.namespace(found.ident, "edge-1")).split()
        assert len(inside) == 1
        for rounds, rate in ((1, "40Mbit"), (2, "4Mbit")):
            asyncio.run(_play(plan, rounds))
            for node, count in (("cloud", 2), ("edge-0", 1), ("edge-1", 1)):
                shown = run("tc", "-n", leftovers.namespace(found.ident, node), "qdisc", "show")
                assert shown.count(f"rate {rate} ") == count, (node, shown)
        nodes.stop(5.0)
        assert set(nodes.ended()) == {"cloud", "edge-0", "edge-1"}
    finally:
        nodes.stop(0.0)
        nodes.close()


async def _play(plan: Plan, rounds: int) -> None:
    """So many rounds, once all nodes are ready."""
    operator = Operator("cloud", plan.root.address or "")
    try:
        async with asyncio.timeout(60):
            if rounds:
                await operator.start_rounds(rounds)
            while True:
                if await operator.is_up() and (await operator.status()).state == "ready":
                    return
                await asyncio.sleep(0.05)
    finally:
        await operator.close()


def test_what_a_killed_run_leaves_is_found_and_removed(tmp_path: Path):
    plan_file = tmp_path / "plan.json"
    plan_file.write_text(dump_plan(small("tbf")))
    code = (
        "import sys, time, pathlib\n"
        "from deploy.links.netns import Network\nfrom node.plan import load_plan\n"
        "network = Network.create(load_plan(pathlib.Path(sys.argv[1])))\n"
        "print(network.ident, flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(plan_file)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    ident = process.stdout.readline().strip()
    (found,) = [f for f in leftovers.find() if f.ident == ident]
    assert found.in_use
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (found,) = [f for f in leftovers.find() if f.ident == ident]
    assert not found.in_use
    assert (found.about["scenario"], len(found.namespaces)) == (_OURS, 4)
    with pytest.raises(LinksError, match="hffm links clear"):
        Network.create(_same_block(plan_file))
    leftovers.remove(ident)
    leftovers.remove(ident)
    assert ident not in ours()


def _same_block(plan_file: Path) -> Plan:
    return Plan.model_validate_json(plan_file.read_bytes())


def test_what_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "deploy.links.netns.setup_lines", lambda *_: ["qdisc add dev eth7 root handle 1: htb"]
    )
    before = ours()
    with pytest.raises(LinksError, match="eth7"):
        Network.create(small("tbf"))
    assert ours() == before


def test_other_interfaces_are_not_touched():
    name = "hffmcafecafe"  # one of ours by its name, but nobody says it is
    run("ip", "link", "add", name, "type", "bridge")
    try:
        assert "cafecafe" not in ours()
        Network.create(small("none")).remove()
        assert name in run("ip", "-br", "link")
    finally:
        run("ip", "link", "del", name)
