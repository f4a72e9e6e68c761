"""Run folders: written whole or told apart, and read with suspicion."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from node.errors import RunFolderError
from node.plan import Plan
from orchestrator.cost.pricing import price
from orchestrator.record.folder import RunRecord
from orchestrator.record.runs import load_run
from orchestrator.record.summary import Published, Summary
from tests.orchestrator.streams import Stream, link, module, plan


def star(**more: Any) -> Plan:
    links = [link("a", "cloud", "uplink", 2), link("b", "cloud", "uplink", 3)]
    modules = more.pop("modules", (module("adapter", 250, cloud=1), module("head/t", 25, task="t", cloud=1)))
    return plan({"a": "cloud", "b": "cloud"}, links, modules, method="star", **more)


def written(folder: Path, state: str = "complete", of: Plan | None = None) -> Path:
    made = of or star()
    with RunRecord.create(folder, made, {"scenario": "name: test", "command": ["hffm", "run"]}) as record:
        for event in Stream(made).play(2):
            record.event(event)
        record.add_module("cloud", "head/t", b"some tensors")
        record.finish(state, price(made), published=Published(accuracy=0.38))
    return folder


def test_a_whole_run(tmp_path: Path) -> None:
    run = load_run(written(tmp_path / "run"))
    assert run.complete
    assert run.plan == star()
    assert run.summary.latency_s.modelled == pytest.approx(run.summary.latency_s.measured_transfers)
    assert run.summary.published == Published(accuracy=0.38)
    assert run.manifest.scenario == "name: test"
    assert run.manifest.packages["hffm"]
    assert run.manifest.seed == 1
    assert len(run.raw_events) == run.summary.events.total
    assert not run.summary.events.unreadable
    file = run.folder / "modules/cloud/head/t.safetensors"
    assert file.read_bytes() == b"some tensors"
    assert run.summary.modules == {"cloud": {"head/t": hashlib.sha256(b"some tensors").hexdigest()}}
    assert not [p for p in run.folder.rglob("*") if "unfinished" in p.name]
    Summary.model_validate_json((run.folder / "summary.json").read_bytes())
    json.loads((run.folder / "trace.json").read_bytes())


def test_metrics_are_a_line_per_round_device_task_and_module(tmp_path: Path) -> None:
    lines = load_run(written(tmp_path / "run")).metrics
    assert [(m["round"], m["node"], m["module"]) for m in lines[:4]] == [
        (0, "a", "adapter"), (0, "a", "head/t"), (0, "b", "adapter"), (0, "b", "head/t"),
    ]  # fmt: skip
    assert len(lines) == 8
    assert lines[0] == {
        "round": 0, "node": "a", "cluster": "cloud", "task": "t", "module": "adapter", "train_samples": 10,
        "test_samples": 10, "accuracy_local": 0.5, "accuracy_aggregated": 0.5, "baseline": 0.2, "loss": 1.0,
        "weight": 10,
    }  # fmt: skip


def test_weight_is_zero_for_who_was_left_out_and_none_for_what_nobody_averaged(tmp_path: Path) -> None:
    made = star(modules=(module("adapter", 250, cloud=1), module("own", 25)))
    with RunRecord.create(tmp_path / "run", made) as record:
        for event in Stream(made).play(1):
            if event["kind"] == "aggregated":
                event = {**event, "contributors": ["b"]}
            record.event(event)
        record.finish()
    weights = {(m["node"], m["module"]): m["weight"] for m in load_run(tmp_path / "run").metrics}
    assert weights == {("a", "adapter"): 0, ("b", "adapter"): 10, ("a", "own"): None, ("b", "own"): None}


def test_without_finish_it_is_no_whole_run(tmp_path: Path) -> None:
    def broken_off() -> None:
        with RunRecord.create(tmp_path / "run", star()) as record:
            for event in Stream(star()).play(2):
                record.event(event)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    with pytest.raises(RunFolderError, match="not a whole run"):
        load_run(tmp_path / "run")
    partly = load_run(tmp_path / "run", allow_incomplete=True)
    assert partly.summary.state == "incomplete"
    assert partly.summary.latency_s.measured_transfers == pytest.approx(3.3)


def test_killed_while_the_summary_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Path, target: Path) -> Path:
        if target.name == "summary.json":
            raise KeyboardInterrupt
        os.replace(self, target)  # noqa: PTH105  Path.replace is what is replaced here
        return target

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path / "run")
    monkeypatch.undo()
    with pytest.raises(RunFolderError, match=r"no summary\.json"):
        load_run(tmp_path / "run")


def test_a_failed_run_is_no_whole_run(tmp_path: Path) -> None:
    with RunRecord.create(tmp_path / "run", star()) as record:
        record.finish("failed", error="2 of 2 children are lost")
    with pytest.raises(RunFolderError, match=r"ended 'failed' \(2 of 2 children are lost\)"):
        load_run(tmp_path / "run")
    assert load_run(tmp_path / "run", allow_incomplete=True).summary.rounds.done == 0


def test_a_torn_last_line_is_tolerated_in_incomplete_runs_only(tmp_path: Path) -> None:
    folder = written(tmp_path / "run")
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"t":1,"node":"a","ki')
    with pytest.raises(RunFolderError, match=r"events\.jsonl: line \d+: not JSON"):
        _ = load_run(folder).raw_events
    (folder / "summary.json").unlink()
    found = load_run(folder, allow_incomplete=True)
    assert len(found.raw_events) == found.summary.events.total > 0


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="not empty: choose another"):
        RunRecord.create(tmp_path, star())
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunFolderError, match="cannot write the run"):
        RunRecord.create(tmp_path / "run", star())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk(tmp_path: Path) -> None:
    record = RunRecord.create(tmp_path / "run", star())
    record.close()
    record._events = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115
    with pytest.raises(RunFolderError, match="No space left on device; choose another folder, or make room"):
        record.event({"t": 1.0, "node": "a", "kind": "left"})
    with pytest.raises(RunFolderError):
        record.close()


@pytest.mark.parametrize(
    ("holder", "name"),
    [
        ("cloud", "../x"),
        ("..", "x"),
        ("cloud", "/etc/x"),
        ("a/b", "x"),
        ("", "x"),
        ("cloud", "a//b"),
        ("c", "a\0"),
    ],
)
def test_modules_stay_inside_the_folder(tmp_path: Path, holder: str, name: str) -> None:
    with RunRecord.create(tmp_path / "run", star()) as record, pytest.raises(RunFolderError, match="rename"):
        record.add_module(holder, name, b"")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plan.json", b"{}"),
        ("plan.json", b"\xff\xfe"),
        ("manifest.json", b"[]"),
        ("manifest.json", b'{"packages": 3}'),
        ("manifest.json", b'{"cpus": NaN}'),
        ("summary.json", b""),
        ("summary.json", b"null"),
        ("summary.json", b'{"state": "complete"}'),
        ("summary.json", b"[" * 100_000),
        ("summary.json", b'{"rounds": ' + b"9" * 5000 + b"}"),
        ("events.jsonl", b"[1]\n"),
        ("events.jsonl", b"\xff\n"),
        ("metrics.jsonl", b"{"),
    ],
)
def test_hostile_content_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    folder = written(tmp_path / "run")
    (folder / name).write_bytes(content)
    with pytest.raises(RunFolderError) as caught:  # noqa: PT012  events and metrics are read when asked for
        run = load_run(folder)
        _ = run.raw_events, run.metrics
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["plan.json", "manifest.json", "events.jsonl", "metrics.jsonl"])
def test_missing_files(tmp_path: Path, missing: str) -> None:
    folder = written(tmp_path / "run")
    (folder / missing).unlink()
    with pytest.raises(RunFolderError, match=missing):  # noqa: PT012
        run = load_run(folder)
        _ = run.raw_events, run.metrics


def test_numbers_that_are_none(tmp_path: Path) -> None:
    folder = written(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    summary["latency_s"]["measured"] = 1e400
    (folder / "summary.json").write_text(json.dumps(summary).replace("Infinity", "1e400"))
    with pytest.raises(RunFolderError, match=r"latency_s\.measured"):
        load_run(folder)


def test_a_summary_of_another_run(tmp_path: Path) -> None:
    ours, theirs = written(tmp_path / "ours"), written(tmp_path / "theirs", of=star(run_id="other"))
    (ours / "summary.json").write_bytes((theirs / "summary.json").read_bytes())
    with pytest.raises(RunFolderError, match="another run"):
        load_run(ours)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no such run folder"):
        load_run(tmp_path / "nothing")
