"""What is said of machines that lack something; the machine itself is probed once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.links import capabilities
from deploy.links.capabilities import NEEDS, Capabilities, Check, probe
from node.errors import LinksError
from orchestrator.run.backends import choose


def machine(*missing: str) -> Capabilities:
    names = {name for needs in NEEDS.values() for name in needs}
    return Capabilities({n: Check(n, n not in missing, f"no {n}: get it") for n in names})


def test_a_probe_leaves_nothing_behind():
    before = set(Path("/run/netns").glob("*"))
    probe()
    assert not {p.name for p in set(Path("/run/netns").glob("*")) - before if "trial" in p.name}


def test_missing_rights_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nCapEff:\t0000000000001000\n")  # CAP_NET_ADMIN alone
    monkeypatch.setattr(capabilities, "_STATUS", status)
    with pytest.raises(LinksError, match=r"CAP_SYS_ADMIN\): run as root, or use --links paced") as error:
        probe().require("tbf")
    assert "CAP_NET_ADMIN" not in str(error.value)


def test_missing_tools_are_named_with_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LinksError, match="`ip` is not installed: install iproute2"):
        probe().require("namespaces")


def test_a_missing_module_is_named_with_the_kernel_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    status = tmp_path / "status"
    status.write_text("CapEff:\t000001ffffffffff\n")
    monkeypatch.setattr(capabilities, "_STATUS", status)

    def attempt(*command: str, lines: object = None) -> subprocess.CompletedProcess[str]:
        failed = "netem" in command
        return subprocess.CompletedProcess(
            command, int(failed), "", "Error: Specified qdisc kind is unknown.\n"
        )

    monkeypatch.setattr(capabilities, "attempt", attempt)
    monkeypatch.setattr("shutil.which", lambda name: f"/sbin/{name}")
    found = probe()
    assert found.lacks("tbf") is None
    missing = found.lacks("netem")
    assert missing is not None
    for word in ("kind is unknown", "modprobe sch_netem", "CONFIG_NET_SCH_NETEM", "--links tbf"):
        assert word in missing.why
    assert "\n" not in missing.why


@pytest.mark.parametrize(
    ("links", "launcher", "missing", "chosen"),
    [
        ("auto", None, (), ("netem", "namespaces")),
        ("auto", None, ("sch_netem",), ("paced", "forked")),
        ("auto", "namespaces", ("sch_netem",), ("tbf", "namespaces")),
        ("auto", "namespaces", ("tc",), ("paced", "namespaces")),
        ("auto", "processes", (), ("paced", "processes")),
        ("paced", None, ("rights",), ("paced", "forked")),
        ("none", "namespaces", ("tc",), ("none", "namespaces")),
        ("tbf", None, ("sch_netem",), ("tbf", "namespaces")),
    ],
)
def test_what_is_chosen(links: str, launcher: str | None, missing: tuple[str, ...], chosen: tuple[str, str]):
    found = choose(links, launcher, lambda: machine(*missing))
    assert (found.links, found.launcher) == chosen
    assert found.why


def test_auto_says_what_is_missing():
    assert "no sch_netem: get it" in choose("auto", None, lambda: machine("sch_netem")).why


@pytest.mark.parametrize(
    ("links", "launcher", "missing", "says"),
    [
        ("netem", None, "sch_netem", "--links netem: no sch_netem: get it"),
        ("paced", "namespaces", "rights", "--launcher namespaces: no rights: get it"),
        ("tbf", "forked", "", "use --launcher namespaces or containers, or --links paced"),
    ],
)
def test_what_cannot_be_is_refused(links: str, launcher: str | None, missing: str, says: str):
    with pytest.raises(LinksError, match=says):
        choose(links, launcher, lambda: machine(missing))
