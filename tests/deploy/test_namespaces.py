"""Real namespaces on this host: shaped by its kernel, removed in the end, whatever the end was."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.launch import LAUNCHERS
from deploy.links import leftovers
from deploy.links.addressing import place_in_block
from deploy.links.capabilities import probe
from deploy.links.commands import run
from deploy.links.netns import Network
from node.errors import LinksError
from node.plan import Link, LinkKind, Plan, dump_plan
from node.wire.operator import Operator
from orchestrator.run.checking import check
from tests.deploy.machine import needs
from tests.federation import make_plan, module

RATE = 40e6


def small(backend: str, rate_bps: float = RATE) -> Plan:
    """Two edge servers without devices, so that nothing has to be trained."""
    parents = {"cloud": None, "edge-0": "cloud", "edge-1": "cloud"}
    tiers = {"cloud": "cloud", "edge-0": "edge", "edge-1": "edge"}
    links = tuple(
        Link(src=a, dst=b, kind=LinkKind.BACKHAUL, rate_bps=rate_bps, delay_s=0.02)
        for edge in ("edge-0", "edge-1")
        for a, b in ((edge, "cloud"), ("cloud", edge))
    )
    plan = make_plan(parents, tiers, (module(edge=1, cloud=1),), links, links_backend=backend)
    return place_in_block(plan, leftovers.taken_blocks())


def ours() -> set[str]:
    return {found.ident for found in leftovers.find()}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    needs("tbf")
    before, links = ours(), run("ip", "-br", "link")
    yield
    for ident in ours() - before:
        leftovers.remove(ident)
        pytest.fail(f"{ident} was left behind")
    if not before:
        assert {line.split()[0] for line in run("ip", "-br", "link").splitlines()} == {
            line.split()[0] for line in links.splitlines()
        }


def test_the_kernel_shapes_each_link():
    network = Network.create(small("tbf"))
    try:
        shown = run("tc", "-n", network.namespace("cloud"), "qdisc", "show", "dev", "eth0")
        assert shown.count("tbf") == 2
        assert "rate 40Mbit" in shown
        network.reshape(small("tbf", 8e6))
        assert run("tc", "-n", network.namespace("cloud"), "qdisc").count("rate 8Mbit") == 2
    finally:
        network.remove()
    network.remove()  # once more does no harm


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
def test_nodes_run_in_namespaces(launcher: str, tmp_path: Path):
    plan = small("tbf")
    plan_file = tmp_path / "plan.json"
    plan_file.write_text(dump_plan(plan))
    nodes = LAUNCHERS[launcher]()
    try:
        nodes.start(plan, plan_file, tmp_path)
        asyncio.run(_until_ready(plan))
        assert nodes.ended() == {}
        (found,) = [f for f in leftovers.find() if f.about.get("pid") == os.getpid()]
        assert found.in_use
        assert len(found.namespaces) == 4
        inside = run("ip", "netns", "pids", leftovers.namespace(found.ident, "edge-1")).split()
        assert len(inside) == 1
        nodes.stop(5.0)
        assert set(nodes.ended()) == {"cloud", "edge-0", "edge-1"}
    finally:
        nodes.stop(0.0)
        nodes.close()


async def _until_ready(plan: Plan) -> None:
    operator = Operator("cloud", plan.root.address or "")
    try:
        async with asyncio.timeout(60):
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
    assert (found.about["scenario"], len(found.namespaces)) == ("test", 4)
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
