"""A run whose modules travel in different forms, by different ways, and whose heads are personal."""

from __future__ import annotations

import json
from pathlib import Path

from node.payload import size_bytes
from node.plan import load_plan
from orchestrator.record.runs import load_run, read_modules
from tests.system.command import SMALL, hffm, scenario, summary

CIRCULATION = """
model: {tunings: [{kind: adapters, bottleneck: 4}, {kind: prompts, length: 2, shared: true}]}
circulation:
  - {modules: adapter, precision: int8}
  - {modules: prompt, precision: bf16, mix: 0.5}
  - {modules: "head/*", periods: {edge: 1}, mix: keep}
"""
DTYPES = {"adapter": {"I8", "F32"}, "prompt": {"BF16"}, "head/art": {"F32"}}


def test_each_module_travels_in_its_form(tmp_path: Path) -> None:
    file = scenario(tmp_path, SMALL + CIRCULATION)
    done = hffm(tmp_path, "run", file, "-m", "hf-fm+d2d-2", "--out", "run", timeout_s=280)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    assert summary(run)["state"] == "complete"
    plan = load_plan(run / "plan.json")
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    moved = [e for e in events if e["kind"] == "transfer" and e["purpose"] != "snapshot"]
    assert {(e["link"], name) for e in moved for name in e["modules"]} == {
        *(("d2d", name) for name in ("adapter", "prompt")),
        *((link, name) for link in ("uplink", "downlink") for name in DTYPES),
        *(("backhaul", name) for name in ("adapter", "prompt")),
    }
    for event in moved:
        whole = sum(size_bytes(m) for m in plan.modules if m.name in event["modules"])
        assert event["bytes"] <= whole * len(event["origins"])
    for name, wanted in DTYPES.items():
        holder = "edge-0" if name.startswith("head/") else "cloud"
        raw = (run / f"modules/{holder}/{name}.safetensors").read_bytes()
        table = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        assert {entry["dtype"] for key, entry in table.items() if key != "__metadata__"} == wanted
    heads = {d.id: read_modules(load_run(run), d.id)["head/art"].tobytes() for d in plan.devices}
    assert len(set(heads.values())) == len(plan.devices)
    said = {(e["node"], e["when"]) for e in events if e["kind"] == "metric" and e["round"] == 1}
    assert said == {(d.id, when) for d in plan.devices for when in ("local", "aggregated")}
