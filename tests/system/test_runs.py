"""Whole runs on real processes."""

from __future__ import annotations

import json
import os
import signal

import pytest
from safetensors.numpy import load_file

from tests.system.command import SMALL, hffm, kill, processes_of, scenario, started, summary, until


def test_compare_runs_every_method_and_leaves_whole_run_folders(tmp_path):
    done = hffm(tmp_path, "compare", scenario(tmp_path), "--json", "--out", "out")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["method"] for row in rows] == ["star", "edge-only", "hf-fm-2", "hf-fm+d2d-2"]
    for row in rows:
        for figure in ("latency_s", "energy_j"):
            assert row[figure]["modelled"] > 0
            assert row[figure]["measured"] > 0
        assert 0 <= row["accuracy"]["local"] <= 1
        assert row["complete_period"]
    assert (tmp_path / "out/report.html").is_file()
    for run in (tmp_path / "out" / row["method"] for row in rows):
        assert summary(run)["state"] == "complete"
        assert {p.name for p in run.iterdir()} >= {
            "plan.json",
            "manifest.json",
            "events.jsonl",
            "metrics.jsonl",
            "report.html",
            "trace.json",
        }
        assert load_file(run / "modules/cloud/adapter.safetensors")
    assert not processes_of(tmp_path)


def test_same_seed_same_modules_and_another_seed_others(tmp_path):
    """Across processes started in whatever order, with either launcher."""
    name = scenario(tmp_path)
    digests = []
    for i, options in enumerate([[], ["--launcher", "processes"]]):
        done = hffm(tmp_path, "run", name, "--out", f"run{i}", *options)
        assert done.returncode == 0, done.stderr
        digests.append(summary(tmp_path / f"run{i}")["modules"])
    assert digests[0] == digests[1]
    scenario(tmp_path, SMALL.replace("seed: 5", "seed: 6"))
    assert hffm(tmp_path, "run", name, "--out", "run2").returncode == 0
    assert summary(tmp_path / "run2")["modules"] != digests[0]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)]
)
def test_no_process_is_left_behind(number, code, tmp_path):
    """Whenever the command ends: Ctrl-C, SIGTERM, or killed outright."""
    run = started(tmp_path, "run", scenario(tmp_path), "--rounds", "500", "--out", "run")
    events = tmp_path / "run/events.jsonl"
    until(lambda: events.exists() and '"train"' in events.read_text(), "training has begun")
    assert len(processes_of(tmp_path)) >= 9
    kill(run, number)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == code
    until(lambda: not processes_of(tmp_path), "all nodes have ended", timeout_s=30)
    assert "Traceback" not in errors
    if number is not signal.SIGKILL:
        assert summary(tmp_path / "run")["state"] == "interrupted"
    refused = hffm(tmp_path, "report", "run")
    assert refused.returncode == 60
    assert "Traceback" not in refused.stderr


def test_nodes_that_stay(tmp_path):
    """up, rounds, status, rounds, down: the same modules as in one go."""
    name = scenario(tmp_path)
    assert hffm(tmp_path, "run", name, "--rounds", "3", "--out", "once").returncode == 0
    up = hffm(tmp_path, "up", name)
    assert up.returncode == 0, up.stderr
    try:
        assert hffm(tmp_path, "rounds", "start", "1").returncode == 0
        assert hffm(tmp_path, "rounds", "start", "2").returncode == 0
        status = json.loads(hffm(tmp_path, "status", "--json").stdout)
        assert (status["state"], status["rounds_done"]) == ("ready", 3)
        nodes = {node["node"]: node for node in status["nodes"]}
        assert len(nodes) == 9
        assert nodes["device-00"]["parent"] == "edge-0"
        assert all(node["round"] == 2 and node["versions"]["adapter"] for node in nodes.values())
    finally:
        down = hffm(tmp_path, "down", "--json")
    assert down.returncode == 0, down.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert summary(run)["modules"] == summary(tmp_path / "once")["modules"]
    assert not processes_of(tmp_path)
    assert hffm(tmp_path, "status").returncode == 60


def test_a_device_killed_ends_the_run_and_is_named(tmp_path):
    run = started(tmp_path, "run", scenario(tmp_path), "--rounds", "500", "--out", "run")
    events = tmp_path / "run/events.jsonl"
    joined = until(lambda: _pid_of("device-02", events), "the device has joined")
    until(lambda: '"train"' in events.read_text(), "training has begun")
    os.kill(joined, signal.SIGKILL)
    _, errors = run.communicate(timeout=60)
    assert run.returncode not in (0, 1)
    assert "device-02" in errors.strip().splitlines()[-1]
    assert "Traceback" not in errors
    assert summary(tmp_path / "run")["state"] == "failed"
    assert not processes_of(tmp_path)


def _pid_of(node, events):
    if not events.exists():
        return None
    lines = [json.loads(line) for line in events.read_text().splitlines() if line.endswith("}")]
    return next((e["pid"] for e in lines if e["kind"] == "joined" and e["node"] == node), None)


def test_a_comparison_without_training_has_latency_and_energy_and_says_so(tmp_path):
    options = ("--without-training", "--rounds", "1", "--out", "out")
    done = hffm(tmp_path, "compare", scenario(tmp_path), *options)
    assert done.returncode == 0, done.stderr
    assert "TRAINING LEFT OUT" in done.stdout
    assert "accuracy" not in done.stdout
    for method in ("star", "edge-only", "hf-fm-2", "hf-fm+d2d-2"):
        found = summary(tmp_path / "out" / method)
        assert found["training_left_out"]
        # 90 of the 120 samples train 6 devices, which rest for 10 ms for each of their 15.
        assert found["latency_s"]["measured_parts"]["train"] == pytest.approx(0.15)
        assert found["latency_s"]["measured_transfers"] > 0
        assert found["energy_j"]["measured"] > 0
