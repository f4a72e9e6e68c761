"""`hffm links` as a user and a script see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.links import leftovers
from deploy.links.capabilities import probe
from deploy.links.commands import run
from node.plan import Plan
from orchestrator import cli
from orchestrator.plans.resolve import resolve
from tests.deploy.machine import needs
from tests.orchestrator.scenarios import SHIPPED, TASKS, scenario, table

QUICKSTART = str(SHIPPED / "quickstart.yaml")


@pytest.fixture(name="hffm")
def _hffm(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["hffm", "links", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (int(end.value.code or 0), *capfd.readouterr())

    return call


def tree(folder: Path, rate_bps: float = 40e6, **keys: Any) -> str:
    """One edge server, two devices."""
    topology = {"kind": "tree", "tiers": ["cloud", "edge"], "fanout": [1, 2]}
    channel = table(device_edge=rate_bps, edge_cloud=rate_bps, device_device=rate_bps)
    scenario(folder, topology=topology, channel=channel, methods=["hf-fm+d2d-2"], **keys)
    return str(folder / "scenario.yaml")


def test_show_prints_and_runs_nothing(hffm: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    code, out, err = hffm("show", QUICKSTART)
    assert (code, err) == (0, "")
    assert out == hffm("show", QUICKSTART)[1]
    assert "# device-03, 198.18.0.8: ip link set dev eth0 gso_max_segs 8; tc -batch -\n" in out
    shown = [line for line in out.splitlines() if " netem " in line]
    plan = resolve(scenario_of(QUICKSTART), "hf-fm+d2d-2")
    assert len(shown) == len(plan.links)


def scenario_of(path: str) -> Any:
    from orchestrator.plans.reading import load_scenario

    return load_scenario(Path(path))


def test_show_for_ones_own_deployment(hffm: Any, tmp_path: Path):
    file = tree(tmp_path)
    addresses = tmp_path / "addresses.yaml"
    nodes = ["cloud", "edge-0", "device-00", "device-01"]
    addresses.write_text(yaml.safe_dump({n: f"10.1.0.{i + 1}" for i, n in enumerate(nodes)}))
    options = ("--links", "tbf", "--interface", "wlan0", "--addresses", str(addresses), "--json")
    _, out, _ = hffm("show", file, "--node", "device-01", *options)
    shown = json.loads(out)
    assert (shown["links"], shown["interface"], list(shown["nodes"])) == ("tbf", "wlan0", ["device-01"])
    lines = shown["nodes"]["device-01"]["lines"]
    assert lines[0] == "qdisc add dev wlan0 root handle f: htb default 0"
    assert any("match ip dst 10.1.0.2/32" in line for line in lines)
    addresses.write_text("cloud: 10.1.0.1")
    code, out, err = hffm("show", file, *options)
    assert (code, out) == (22, "")
    assert "no address for 'edge-0'" in err


def test_check_with_paced_links_needs_no_rights(hffm: Any, tmp_path: Path):
    code, out, _ = hffm("check", tree(tmp_path), "--bytes", "500000", "--json")
    found = json.loads(out)
    assert (code, found["links"], len(found["rows"])) == (0, "paced", 8)
    for row in found["rows"]:
        assert {"src", "dst", "kind", "bytes", "modelled_s", "measured_s"} <= set(row)
        assert row["modelled_s"] == pytest.approx(0.1)
        assert 0.095 < row["measured_s"] < 2  # on however busy a machine


def test_check_as_a_table(hffm: Any, tmp_path: Path):
    code, out, _ = hffm("check", tree(tmp_path), "--bytes", "100000", "--concurrent", "--links", "none")
    assert code == 0
    assert "links none, 0.1 MB over each link" in out
    assert "d2d: 2 links, error median" in out


def test_apply_check_and_clear(hffm: Any, tmp_path: Path):
    needs("tbf")
    file = tree(tmp_path, name="apply-and-clear")
    code, out, _ = hffm("apply", file, "--links", "tbf", "--json")
    applied = json.loads(out)
    try:
        assert (code, applied["links"], len(applied["nodes"])) == (0, "tbf", 4)
        namespace = applied["nodes"]["device-00"]["namespace"]
        assert "tbf" in run("tc", "-n", namespace, "qdisc", "show", "dev", "eth0")
        code, out, _ = hffm("clear", file, "--json")
        assert code == 0
        assert [(n["id"], n["namespaces"]) for n in json.loads(out)["removed"]] == [(applied["id"], 5)]
        assert namespace not in run("ip", "netns")
        assert hffm("clear", file)[1] == "nothing to remove\n"
    finally:
        leftovers.remove(applied["id"])


class Machine:
    """Somebody's machine, as far as networks go: a namespace with one interface of its own."""

    def __init__(self, folder: Path) -> None:
        self.name = f"hl-test-{os.getpid()}"
        self.scenario = tree(folder, rounds=4)
        addresses = {
            n: f"10.1.0.{i + 1}" for i, n in enumerate(("cloud", "edge-0", "device-00", "device-01"))
        }
        (folder / "addresses.yaml").write_text(yaml.safe_dump(addresses))
        self.options = (
            "--links",
            "tbf",
            "--interface",
            "wlan0",
            "--addresses",
            str(folder / "addresses.yaml"),
        )

    def hffm(self, *arguments: str, before: Sequence[str] = ()) -> tuple[int, str, str]:
        program = str(Path(sys.executable).parent / "hffm")
        command = ["ip", "netns", "exec", self.name, *before, program, "links", *arguments]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return said.returncode, said.stdout, said.stderr

    def queues(self) -> str:
        return run("tc", "-n", self.name, "qdisc", "show", "dev", "wlan0")


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Iterator[Machine]:
    needs("tbf")
    found = Machine(tmp_path)
    run("ip", "netns", "add", found.name)
    try:
        run("ip", "-n", found.name, "link", "add", "wlan0", "type", "veth", "peer", "name", "far")
        yield found
    finally:
        run("ip", "netns", "del", found.name)


def test_a_board_shapes_its_own_interface_and_gives_it_back(machine: Machine):
    plain = machine.queues()
    apply = ("apply", machine.scenario, "--node", "device-00", *machine.options)
    code, out, _ = machine.hffm(*apply, "--json")
    applied = json.loads(out)
    assert (code, applied["node"], applied["interface"]) == (0, "device-00", "wlan0")
    shown = machine.hffm("show", machine.scenario, "--node", "device-00", *machine.options)[1].splitlines()
    assert applied["lines"] == shown[1:]
    assert machine.queues().count("rate 40Mbit") == 2
    assert machine.hffm(*apply)[0] == 0  # again, as after a crash
    assert machine.queues().count("rate 40Mbit") == 2
    assert machine.hffm("clear", "--interface", "wlan0")[:2] == (0, "wlan0 is as the kernel made it\n")
    assert machine.queues() == plain
    assert "gso_max_segs 65535" in run("ip", "-n", machine.name, "-d", "link", "show", "wlan0")
    assert machine.hffm("clear", "--interface", "wlan0")[1] == "nothing to remove\n"


def test_an_interface_that_cannot_be_shaped_stays_as_it_is(machine: Machine):
    apply = ("apply", machine.scenario, *machine.options, "--node", "device-00")
    plain = machine.queues()
    refused = [
        (("apply", machine.scenario, *machine.options, "--node", "nobody"), (), "plan has no node 'nobody'"),
        ((*apply, "--interface", "wlan7"), (), "no interface 'wlan7' here, only lo, "),
        (apply, ("setpriv", "--bounding-set", "-net_admin"), "missing rights (CAP_NET_ADMIN)"),
        (apply, ("env", "PATH=/nowhere"), "`ip` is not installed: install iproute2"),
    ]
    if (missing := probe().lacks("netem")) is not None:
        refused.append(((*apply, "--links", "netem"), (), missing.why.split(": ")[-1]))
    for arguments, before, says in refused:
        code, out, err = machine.hffm(*arguments, before=before)
        assert (code >= 10, out, len(err.splitlines())) == (True, "", 1), err
        assert says in err
        assert machine.queues() == plain
    run("tc", "-n", machine.name, "qdisc", "add", "dev", "wlan0", "root", "handle", "1:", "htb")
    for arguments in (apply, ("clear", "--interface", "wlan0")):
        assert "of somebody else (htb 1:)" in machine.hffm(*arguments)[2]
    assert "htb 1:" in machine.queues()


def test_what_is_in_use_stays(hffm: Any, tmp_path: Path):
    needs("namespaces")
    file = tree(tmp_path, name="in-use")
    mark = leftovers.Mark("00c0ffee", {"scenario": "in-use", "method": "star"})
    try:
        code, out, _ = hffm("clear", file)
        assert (code, out) == (0, f"kept 00c0ffee: process {os.getpid()} uses it for in-use star\n")
    finally:
        mark.release()
    assert "removed 00c0ffee" in hffm("clear", file)[1]


def replayed(folder: Path) -> Plan:
    """The same nodes, with the rates of measured.yaml."""
    keys = {"name": "replay", "methods": ["hf-fm+d2d-2"], "tasks": TASKS}
    topology = {"kind": "tree", "tiers": ["cloud", "edge"], "fanout": [1, 2]}
    channel = {"model": "table", "table": "measured.yaml"}
    file = folder / "replay.yaml"
    file.write_text(yaml.safe_dump({**keys, "topology": topology, "channel": channel}))
    return resolve(scenario_of(str(file)), "hf-fm+d2d-2")


@pytest.mark.parametrize("links", ["none", "paced", "tbf"])
def test_measured_links_can_be_replayed(hffm: Any, tmp_path: Path, links: str):
    """From a scenario's links as they are on this machine, to a scenario with these rates, and its check."""
    if links == "tbf":
        needs("tbf")
    file, out = tree(tmp_path), tmp_path / "measured.yaml"
    code, _, err = hffm("measure", file, "--links", links, "--bytes", "2000000", "--out", str(out))
    assert code == 0
    assert "8 links written" in err
    plan = replayed(tmp_path)
    assert len(plan.links) == 8
    assert all(link.rate_bps > 1e6 and link.power_w == 1 for link in plan.links)
    if links != "none":  # no link is faster than it is shaped, however busy this machine
        assert max(link.rate_bps for link in plan.links) < 1.1 * 40e6
    _, out_text, _ = hffm("check", str(tmp_path / "replay.yaml"), "--bytes", "100000", "--json")
    rows = {(row["src"], row["dst"]): row["rate_bps"] for row in json.loads(out_text)["rows"]}
    assert rows == {(link.src, link.dst): link.rate_bps for link in plan.links}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", QUICKSTART, "--links", "paced"), "links paced run no tc: ask for --links netem or tbf"),
        (("show", QUICKSTART, "--addresses", "nowhere.yaml"), "nowhere.yaml: cannot read the addresses"),
        (("show", QUICKSTART, "--node", "nobody"), "plan has no node 'nobody'"),
        (("check", "nowhere.yaml"), "nowhere.yaml: cannot read the scenario"),
        (("measure", "--run", "nowhere"), "nowhere: no such run folder"),
    ],
)
def test_bad_input_is_one_line(hffm: Any, arguments: tuple[str, ...], says: str):
    code, out, err = hffm(*arguments)
    assert code >= 10
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith("error: ")
    assert says in err


@pytest.mark.parametrize(("key", "value"), [("rate_bps", 0), ("loss", 1)])
def test_links_that_cannot_be_are_refused_where_they_are_written(
    hffm: Any, tmp_path: Path, key: str, value: float
):
    rule = {"from": "device", "to": "cloud", "rate_bps": 1e6, key: value}
    (tmp_path / "s.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "bad",
                "methods": ["star"],
                "tasks": TASKS,
                "topology": {"kind": "tree", "tiers": ["cloud"], "fanout": [1]},
                "channel": {"model": "table", "links": [rule]},
            }
        )
    )
    code, _, err = hffm("show", str(tmp_path / "s.yaml"))
    assert code == 10
    assert f"channel.links[0].{key}" in err
    assert len(err.splitlines()) == 1


def test_missing_rights_are_one_line(hffm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    status = tmp_path / "status"
    status.write_text("CapEff:\t0000000000000000\n")
    monkeypatch.setattr("deploy.links.capabilities._STATUS", status)
    code, _, err = hffm("check", tree(tmp_path), "--links", "tbf")
    assert code == 22
    assert "missing rights (CAP_NET_ADMIN, CAP_SYS_ADMIN): run as root, or use --links paced" in err
    assert len(err.splitlines()) == 1
