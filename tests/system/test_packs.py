"""Several devices in one process: the same run, with fewer processes."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.system.command import SMALL, hffm, scenario, started, summary, until

PACKED = SMALL + "nodes_per_process: 4\n"


def processes(run) -> dict[str, int]:
    """Process of each node that has joined."""
    lines = (run / "events.jsonl").read_text().splitlines()
    joined = [event for line in lines if (event := json.loads(line))["kind"] == "joined"]
    return {event["node"]: event["pid"] for event in joined}


def test_packed_nodes_make_the_same_modules(tmp_path):
    """Over device-to-device links too: each has its own port and its own identity."""
    digests = []
    for i, (text, launcher) in enumerate([(SMALL, "forked"), (PACKED, "forked"), (PACKED, "processes")]):
        name, out = scenario(tmp_path, text), f"run{i}"
        done = hffm(tmp_path, "run", name, "-m", "hf-fm+d2d-2", "--launcher", launcher, "--out", out)
        assert done.returncode == 0, done.stderr
        digests.append(summary(tmp_path / out)["modules"])
        pids = processes(tmp_path / out)
        assert len(pids) == 9
        assert len(set(pids.values())) == (9 if text is SMALL else 3 + 2)
        logs = tmp_path / out / "logs"
        assert all((logs / f"{node}.log").read_text() for node in pids)
    assert digests[0] == digests[1] == digests[2]


@pytest.mark.parametrize("launcher", ["forked", "processes"])
def test_a_killed_process_comes_back_with_all_of_its_nodes(tmp_path, launcher):
    text = PACKED + "training: {left_out: true}\n"
    command = ["run", scenario(tmp_path, text), "-m", "hf-fm-2", "--rounds", "30", "--restart", "1"]
    run = started(tmp_path, *command, "--launcher", launcher, "--out", "run")
    folder = tmp_path / "run"
    told = folder / "events.jsonl"
    until(lambda: told.is_file() and '"kind":"round"' in told.read_text().replace(" ", ""), "a round")
    os.kill(processes(folder)["device-00"], signal.SIGKILL)
    said = run.communicate(timeout=120)[1]
    assert run.returncode == 0, said
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    twice = [e["node"] for e in events if e["kind"] == "joined"]
    assert sorted({n for n in twice if twice.count(n) == 2}) == [
        "device-00",
        "device-01",
        "device-02",
        "device-03",
    ]
    done = [e for e in events if e["kind"] == "aggregated" and e["node"] == "cloud"]
    assert all(len(e["contributors"]) == 6 for e in done)


def test_nodes_with_a_network_stack_each_share_no_process(tmp_path):
    done = hffm(tmp_path, "run", scenario(tmp_path, PACKED), "-m", "star", "--launcher", "ssh")
    assert done.returncode != 0
    assert "nodes_per_process: --launcher ssh gives every node a process of its own" in done.stderr
