"""Containers of Docker's engine: healthy, stopped cleanly, removed in the end, whatever the end was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.launch.containers import ContainerLauncher
from deploy.launch.engine import ask, compose
from node.plan import dump_plan
from tests.deploy.machine import needs
from tests.emulation.nodes import in_block, three_nodes, wait_until_ready
from tests.system.command import hffm, scenario, summary, until

LABEL = "com.docker.compose.project"


def ours() -> dict[str, set[str]]:
    """Whatever of Compose's there is on this engine."""
    asked = {"ps": ["ps", "--all"], "network": ["network", "ls"], "volume": ["volume", "ls"]}
    filters = ["--filter", f"label={LABEL}", "--quiet"]
    return {kind: set(ask("docker", *words, *filters).split()) for kind, words in asked.items()}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    needs("containers")
    before = ours()
    yield
    assert ours() == before


@pytest.mark.parametrize("links", ["paced", "tbf"])
def test_nodes_are_healthy_and_leave_when_docker_stops_them(links: str, tmp_path: Path):
    if links == "tbf":
        needs("tbf", "containers")
    plan = in_block(three_nodes(links))
    (tmp_path / "plan.json").write_text(dump_plan(plan))
    launcher = ContainerLauncher()
    try:
        launcher.start(plan, tmp_path / "plan.json", tmp_path)
        wait_until_ready(plan)
        until(lambda: states() == {"healthy"}, "all are healthy")
        if links == "tbf":
            shown = ask("docker", "exec", container("cloud"), "tc", "qdisc", "show", "dev", "eth0")
            assert shown.count("tbf") == 2
        ask("docker", "stop", container("edge-1"))
        until(lambda: "edge-1" in launcher.ended(), "the node has ended")
        assert launcher.ended() == {"edge-1": 0}
    finally:
        launcher.stop(5.0)
        launcher.close()
    assert "edge-1 left reason=it was told to end" in (tmp_path / "edge-1.log").read_text()
    assert "joined role=cloud" in (tmp_path / "cloud.log").read_text()


def container(node: str) -> str:
    return ask("docker", "ps", "--quiet", "--filter", f"label=com.docker.compose.service={node}").strip()


def states() -> set[str]:
    shown = ask("docker", "ps", "--filter", f"label={LABEL}", "--format", "{{.Status}}").splitlines()
    return {line.rpartition("(")[2].rstrip(")") for line in shown}


def test_nothing_is_left_when_the_orchestrator_is_killed(tmp_path: Path):
    plan = in_block(three_nodes())
    (tmp_path / "plan.json").write_text(dump_plan(plan))
    before = ours()
    code = (
        "import sys, time, pathlib\n"
        "from deploy.launch.containers import ContainerLauncher\nfrom node.plan import load_plan\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "ContainerLauncher().start(load_plan(folder / 'plan.json'), folder / 'plan.json', folder)\n"
        "print('started', flush=True)\ntime.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "started"
    assert len(ours()["ps"]) == len(before["ps"]) + 3
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    until(lambda: ours() == before, "containers, network and volume are gone")
    assert "joined role=edge" in (tmp_path / "edge-0.log").read_text()


def test_a_node_that_is_killed_is_told_with_its_log_and_can_be_started_again(tmp_path: Path):
    plan = in_block(three_nodes())
    (tmp_path / "plan.json").write_text(dump_plan(plan))
    launcher = ContainerLauncher()
    try:
        launcher.start(plan, tmp_path / "plan.json", tmp_path)
        wait_until_ready(plan)
        ask("docker", "kill", container("edge-1"))
        until(lambda: "edge-1" in launcher.ended(), "the node has ended")
        assert launcher.ended()["edge-1"] == 128 + signal.SIGKILL
        assert "joined role=edge" in (tmp_path / "edge-1.log").read_text()
        launcher.restart("edge-1")
        until(lambda: joined(container("edge-1")) == 2, "it has joined once more")
        assert launcher.ended() == {}
    finally:
        launcher.stop(5.0)
        launcher.close()


def joined(identity: str) -> int:
    done = subprocess.run(["docker", "logs", identity], capture_output=True, text=True, check=True)
    return done.stderr.count("joined role=edge")


def test_a_missing_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HFFM_IMAGE", "hffm-none")
    run = hffm(tmp_path, "run", scenario(tmp_path), "--launcher", "containers")
    assert run.returncode == 22
    assert run.stderr.splitlines()[-1] == (
        "error: --launcher containers: no image 'hffm-none' here: `make image`, or name another one in $HFFM_IMAGE"
    )


def test_by_hand(tmp_path: Path):
    """The compose file alone, rounds and the end by `hffm`, as somebody would who deploys it elsewhere."""
    text = scenario(tmp_path)
    made = hffm(tmp_path, "plan", text, "-m", "star", "--compose", "up")
    assert (made.returncode, made.stdout) == (0, "up/compose.yaml\n")
    project = [*compose(), "-f", str(tmp_path / "up/compose.yaml"), "-p", "byhand"]
    try:
        ask(*project, "up", "-d", timeout_s=300)
        until(lambda: state(tmp_path) == "ready", "all nodes are ready", timeout_s=300)
        rounds = hffm(tmp_path, "rounds", "start", "1", "--run", "up", timeout_s=300)
        assert rounds.returncode == 0, rounds.stderr
        down = hffm(tmp_path, "down", "--run", "up")
        assert down.returncode == 0, down.stderr
        assert summary(tmp_path / "up")["state"] == "complete"
        until(lambda: not states(), "every node has ended")
    finally:
        ask(*project, "down", "-v", timeout_s=300)


def state(folder: Path) -> str | None:
    asked = hffm(folder, "status", "--run", "up", "--json")
    return None if asked.returncode else str(json.loads(asked.stdout)["state"])
