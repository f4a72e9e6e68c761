"""A run of a modular model on unequal devices: who lacks a module has nothing to do with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from node.plan import Plan, load_plan
from tests.system.command import hffm, scenario, summary

MODULAR = """
name: modular
seed: 5
rounds: 2
methods: [hf-fm-2]
topology: {kind: tree, fanout: [2, 2]}
channel:
  model: table
  links:
    - {from: device, to: edge, both: true, rate_bps: 200e6, power_w: 0.6}
    - {from: edge, to: cloud, both: true, rate_bps: 200e6, power_w: 0.8}
model:
  backbone: builtin:tiny-clip
  tunings:
    - {kind: adapters, bottleneck: 4}
    - {kind: lora, rank: 2}
    - {kind: prompts, length: 2}
    - {kind: encoder, layers: 1}
  experts: {count: 3, hidden: 8, most_relevant: 1}
tasks:
  - {name: gqa, source: builtin:gqa, answers: 8, samples_per_answer: 6}
  - {name: shapes, source: builtin:shapes, samples_per_answer: 6}
  - {name: captions, source: builtin:captions, answers: 4, samples_per_answer: 6}
  - {name: motion, source: builtin:motion, samples_per_answer: 6}
partition: {kind: iid}
devices:
  - {nodes: device-00, modalities: [image]}
  - {nodes: device-01, modalities: [series]}
  - {nodes: device-02, tasks: [gqa]}
  - {nodes: device-03, storage_bytes: 250000}
limits: {lease_s: 20, connect_s: 60}
"""


def events(run: Path, kind: str) -> list[dict]:
    lines = (run / "events.jsonl").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line))["kind"] == kind]


def test_unequal_devices_train_what_they_hold(tmp_path):
    done = hffm(tmp_path, "run", scenario(tmp_path, MODULAR), "-m", "hf-fm-2", "--out", "run", timeout_s=280)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    assert summary(run)["state"] == "complete"
    plan = load_plan(run / "plan.json")
    check_transfers(plan, run)
    check_averages(plan, run)
    executed = {(e["node"], e["task"]) for e in events(run, "metric")}
    assert executed == {
        (d.id, t.name) for d in plan.devices for t in plan.tasks if plan.executes(d.id, t.name)
    }
    done = hffm(tmp_path, "export", "run", "--peft", "peft")
    assert done.returncode == 0, done.stderr
    written = load_file(tmp_path / "peft/adapter_model.safetensors")
    own = load_file(run / "modules/cloud/lora/image.safetensors")
    for name, value in own.items():
        np.testing.assert_array_equal(written[f"base_model.model.{name}"], value)


def check_transfers(plan: Plan, run: Path) -> None:
    """Nobody sends or gets what it does not hold, and every module that was trained is on its way."""
    moved = {(e["src"], e["dst"], name) for e in events(run, "transfer") for name in e["modules"]}
    for src, dst, name in moved:
        assert plan.holds(src, name), (src, name)
        assert plan.holds(dst, name), (dst, name)
    assert {name for _, _, name in moved} >= {
        m.name for m in plan.modules if not m.name.startswith("expert/")
    }


def check_averages(plan: Plan, run: Path) -> None:
    """By those who hold it; of the experts, each device trains one in each round."""
    for event in events(run, "aggregated"):
        assert set(event["contributors"]) <= set(plan.holders(event["module"]))
    for edge in ("edge-0", "edge-1"):
        said = [
            e for e in events(run, "aggregated") if e["node"] == edge and e["module"].startswith("expert/")
        ]
        for round_index in (0, 1):
            trained = [device for e in said if e["round"] == round_index for device in e["contributors"]]
            able = [d for d in plan.children(edge) if any(plan.holds(d, f"expert/{i}") for i in range(3))]
            assert sorted(trained) == able
