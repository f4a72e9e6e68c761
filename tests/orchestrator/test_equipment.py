"""What the plan decides about devices: what they collect, execute, hold and can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.errors import ScenarioError
from node.learning.partition import deal_task
from node.learning.sources import open_corpus
from node.plan import Circulation, Plan
from node.roles.battery import Battery
from orchestrator.plans.resolve import resolve
from tests.orchestrator.scenarios import scenario, table

TASKS = [
    {"name": "gqa", "source": "builtin:gqa", "samples_per_answer": 20},
    {"name": "shapes", "source": "builtin:shapes"},
    {"name": "motion", "source": "builtin:motion"},
]
CLIP = {"backbone": "builtin:tiny-clip", "tunings": ["adapters"], "experts": {"count": 4}}


def plan_of(folder: Path, **keys: Any) -> Plan:
    tree = {"kind": "tree", "tiers": ["cloud"], "fanout": [6]}
    rates = table(device_cloud=1e6)
    return resolve(
        scenario(folder, topology=tree, channel=rates, **{"tasks": TASKS, "model": CLIP} | keys), "star"
    )


def test_without_a_word_every_device_has_everything(tmp_path: Path) -> None:
    for device in plan_of(tmp_path).devices:
        assert (device.modalities, device.tasks, device.task_shares, device.modules) == (None,) * 4


def test_a_device_holds_what_its_modalities_train(tmp_path: Path) -> None:
    rules = [
        {"nodes": "device-00", "modalities": ["image"]},
        {"nodes": "device-01", "modalities": ["series"]},
    ]
    plan = plan_of(tmp_path, devices=rules)
    eyes, wrist, *_ = plan.devices
    mixture = ("gate", "expert/0", "expert/1", "expert/2", "expert/3")
    assert eyes.modules == ("adapter/image", *mixture, "head/shapes")
    assert wrist.modules == (*mixture, "head/motion")
    assert [t.name for t in plan.tasks if plan.executes("device-00", t.name)] == ["shapes"]
    assert plan.devices[2].modules is None
    assert plan.holders("adapter/text") == [d.id for d in plan.devices[2:]]


def test_what_does_not_fit_is_not_held(tmp_path: Path) -> None:
    whole = plan_of(tmp_path)
    sizes = {m.name: 4 * m.size for m in whole.modules}
    heads = sum(size for name, size in sizes.items() if name.startswith("head/"))
    both = sizes["adapter/text"] + sizes["adapter/image"] + sizes["gate"]
    room = heads + both + sizes["expert/0"]
    plan = plan_of(tmp_path, devices=[{"nodes": "device-0[0-3]", "storage_bytes": room}])
    experts = [[n for n in d.modules or () if n.startswith("expert/")] for d in plan.devices[:4]]
    assert experts == [["expert/0"], ["expert/1"], ["expert/2"], ["expert/3"]]
    for device in plan.devices[:4]:
        assert sum(sizes[n] for n in device.modules or ()) <= room
    bare = plan_of(tmp_path, devices=[{"nodes": "device-00", "storage_bytes": 0}])
    assert bare.devices[0].modules == ()
    assert not any(bare.executes("device-00", t.name) for t in bare.tasks)


def test_tasks_and_modalities_are_drawn_and_repeat(tmp_path: Path) -> None:
    partition = {"task_concentration": 0.3, "modality_concentration": 0.5}
    plan = plan_of(tmp_path, partition=partition, seed=3)
    assert plan == plan_of(tmp_path, partition=partition, seed=3)
    assert plan.devices != plan_of(tmp_path, partition=partition, seed=4).devices
    assert any(len(d.tasks or ()) < len(TASKS) for d in plan.devices)
    assert any(len(d.modalities or ()) < 3 for d in plan.devices)
    for task in plan.tasks:
        shards = deal_task(plan, task, open_corpus(task, plan.seed).labels_N)
        dealt = [len(train) + len(test) for train, test in zip(shards.train, shards.test, strict=True)]
        assert sum(dealt) == len(open_corpus(task, plan.seed).labels_N)
        for device, count in zip(plan.devices, dealt, strict=True):
            assert count == 0 or plan.executes(device.id, task.name)


def test_samples_follow_the_shares_of_tasks(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, partition={"kind": "iid", "task_concentration": 1.0}, seed=1)
    task = plan.tasks[1]
    shards = deal_task(plan, task, open_corpus(task, plan.seed).labels_N)
    able = [d for d in plan.devices if plan.executes(d.id, task.name)]
    total = sum((d.task_shares or {})[task.name] for d in able)
    for place, device in enumerate(plan.devices):
        if device in able:
            wanted = (device.task_shares or {})[task.name] / total * sum(map(len, shards.train))
            assert len(shards.train[place]) == pytest.approx(wanted, abs=1)


def test_fast_devices_take_less_time_and_batteries_run_out(tmp_path: Path) -> None:
    rules = [
        {"nodes": "*", "battery_j": 2000.0},
        {"nodes": "device-01", "compute": 4, "watts": 2.0},
    ]
    slow, fast, *_ = (plan := plan_of(tmp_path, devices=rules)).devices
    assert (slow.sample_s, fast.sample_s) == (0.01, 0.0025)
    samples = {"gqa": 1000}

    def rounds(device: str) -> int:
        battery = Battery(plan, device, Circulation(plan))
        return next(r for r in range(1000) if not battery.lasts(r, samples))

    assert 0 < rounds("device-00") < rounds("device-01")
    endless = plan_of(tmp_path)
    assert Battery(endless, "device-00", Circulation(endless)).lasts(10**6, samples)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"devices": [{"nodes": "phone*"}]}, r"devices\[0\]\.nodes: no device matches 'phone\*'"),
        ({"devices": [{"nodes": "*", "tasks": ["gqq"]}]}, r"devices\[0\]\.tasks: no task 'gqq'"),
        ({"devices": [{"nodes": "*", "modalities": ["text"]}]}, r"tasks\[0\]: no device executes it"),
        ({"devices": [{"nodes": "*", "modalities": ["smell"]}]}, r"devices\[0\]\.modalities.*'smell'"),
        ({"model": {"backbone": "builtin:tiny-vilt"}}, "'motion' has series; use one with"),
        ({"model": {"tunings": ["lora", "lora"]}}, "model.tunings.*'lora' stands there twice"),
        ({"model": {"tunings": ["qlora"]}}, "model.tunings.*must be 'adapters' or"),
    ],
)
def test_what_cannot_be_is_one_line(keys: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=says) as caught:
        plan_of(tmp_path, **keys)
    assert "\n" not in str(caught.value)
