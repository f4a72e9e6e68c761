"""`hffm links` as a user and a script see it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.links import leftovers
from deploy.links.commands import run
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
    assert "# device-03, 198.18.0.8: tc -batch -" in out
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
    assert lines[0] == "qdisc add dev wlan0 root handle 1: htb default 0"
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


def test_measured_links_can_be_replayed(hffm: Any, tmp_path: Path):
    """From a scenario's links as they are on this machine, to a scenario with these rates."""
    file = tree(tmp_path)
    out = tmp_path / "measured.yaml"
    code, _, err = hffm("measure", file, "--bytes", "200000", "--out", str(out))
    assert code == 0
    assert "8 links written" in err
    topology = {"kind": "tree", "tiers": ["cloud", "edge"], "fanout": [1, 2]}
    (tmp_path / "replay.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "replay",
                "methods": ["hf-fm+d2d-2"],
                "tasks": TASKS,
                "topology": topology,
                "channel": {"model": "table", "table": "measured.yaml"},
            }
        )
    )
    plan = resolve(scenario_of(str(tmp_path / "replay.yaml")), "hf-fm+d2d-2")
    assert len(plan.links) == 8
    assert all(link.rate_bps > 1e6 and link.power_w == 1 for link in plan.links)


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
