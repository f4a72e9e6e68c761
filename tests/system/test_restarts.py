"""Nodes killed and started again, and whole runs broken off and resumed: the modules of an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.system.command import SMALL, hffm, kill, processes_of, scenario, started, summary, until

METHOD = ["--method", "hf-fm+d2d-2", "--rounds", "6"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = hffm(folder, "run", scenario(folder, SMALL), *METHOD, "--out", "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def lines(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def until_round(run: Path, number: int) -> None:
    def closed() -> bool:
        told = lines(run / "events.jsonl")
        return any(e["kind"] == "round" and e["node"] == "cloud" and e["round"] >= number for e in told)

    until(closed, f"the cloud has closed round {number}")


def pid_of(run: Path, node: str) -> int:
    told = [e["pid"] for e in lines(run / "events.jsonl") if e["kind"] == "joined" and e["node"] == node]
    return int(told[-1])


def is_one_run_as(run: Path, undisturbed: Path) -> None:
    """The same modules to the last bit, and a record of every round, once."""
    found, expected = summary(run), summary(undisturbed)
    assert found["state"] == "complete"
    assert found["modules"] == expected["modules"]
    assert found["rounds"] == expected["rounds"]
    assert found["circulation"] == expected["circulation"]
    assert found["events"]["unreadable"] == 0
    assert lines(run / "metrics.jsonl") == lines(undisturbed / "metrics.jsonl")
    told = [(e["node"], e["life"], e["seq"]) for e in lines(run / "events.jsonl")]
    assert len(told) == len(set(told))


def test_nodes_of_every_tier_are_killed_and_started_again(undisturbed, tmp_path):
    run = started(tmp_path, "run", scenario(tmp_path), *METHOD, "--restart", "1", "--out", "run")
    for number, victim in [(1, "edge-0"), (1, "device-01"), (3, "cloud")]:  # device-01 is a head
        until_round(tmp_path / "run", number)
        os.kill(pid_of(tmp_path / "run", victim), signal.SIGKILL)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    for victim in ("edge-0", "device-01", "cloud"):
        assert f"{victim} ended with signal 9: started again (1/1)" in errors
    is_one_run_as(tmp_path / "run", undisturbed)
    assert not processes_of(tmp_path)


def test_a_run_whose_orchestrator_is_killed_is_resumed(undisturbed, tmp_path):
    run = started(tmp_path, "run", scenario(tmp_path), *METHOD, "--out", "run")
    until_round(tmp_path / "run", 1)
    kill(run, signal.SIGKILL)
    run.communicate(timeout=60)
    with (tmp_path / "run/events.jsonl").open("a") as events:
        events.write('{"t": 1, "node": "cl')  # as a power cut leaves it
    again = hffm(tmp_path, "run", "--resume", "run")
    assert again.returncode == 0, again.stderr
    is_one_run_as(tmp_path / "run", undisturbed)
    assert not processes_of(tmp_path)
    refused = hffm(tmp_path, "run", "--resume", "run")
    assert refused.returncode == 60
    assert "nothing is left to resume" in refused.stderr
