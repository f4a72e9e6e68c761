"""What a device makes of a round."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from node.errors import ModelError, PlanError
from node.learning.learner import Learner
from node.model.schema import Flat, initial_module
from node.plan import PartitionSpec, Plan, TaskSpec, TrainingSpec, dump_plan
from tests.learning.plans import builtin, plan_of

GQA = builtin("gqa", samples_per_answer=5)
DIGITS = builtin("digits", samples_per_answer=6)


def initial(plan: Plan) -> dict[str, Flat]:
    return {module.name: initial_module(module, plan.seed) for module in plan.modules}


def test_a_round_trains_what_there_are_samples_for() -> None:
    plan = plan_of(GQA, DIGITS, devices=3)
    learner = Learner(plan, "d1")
    before = initial(plan)
    trained = learner.train(before, 0)
    gqa, digits = learner.train_samples["gqa"], learner.train_samples["digits"]
    assert (gqa, digits) == (30, 18)
    assert learner.samples == trained.samples
    assert trained.samples == {"adapter": gqa + digits, "head/gqa": gqa, "head/digits": digits}
    assert set(trained.losses) == {"gqa", "digits"}
    for name, values in before.items():
        assert values.tobytes() == initial(plan)[name].tobytes()  # what came in is left alone
        assert trained.modules[name].dtype == np.float32
        assert trained.modules[name].shape == values.shape
        assert np.isfinite(trained.modules[name]).all()
        assert not np.array_equal(trained.modules[name], values)


def lonely_plan() -> Plan:
    """40 devices share 20 samples: most have none of either task."""
    few = {"samples_per_answer": 2, "answers": 5, "test_fraction": 0.2}
    return plan_of(builtin("gqa", **few), builtin("digits", **few), devices=40, partition=PartitionSpec())


def test_a_device_without_samples_takes_part_and_changes_nothing() -> None:
    plan = lonely_plan()
    before = initial(plan)
    for place in range(40):
        learner = Learner(plan, f"d{place}")
        if not any(learner.train_samples.values()):
            trained = learner.train(before, 0)
            assert trained.samples == dict.fromkeys(before, 0)
            assert trained.losses == {}
            for name, values in before.items():
                assert trained.modules[name].tobytes() == values.tobytes()
            break
    else:
        pytest.fail("every device has samples")


def test_the_same_seed_gives_the_same_bytes_in_any_process_and_order() -> None:
    plan = plan_of(GQA, DIGITS, devices=2)
    code = (
        "import sys, hashlib, torch; torch.manual_seed(int(sys.argv[1])); torch.rand(7)\n"
        "from node.learning.learner import Learner; from node.plan import Plan\n"
        "from node.model.schema import initial_module\n"
        "plan = Plan.model_validate_json(sys.stdin.read())\n"
        "modules = {m.name: initial_module(m, plan.seed) for m in plan.modules}\n"
        "trained = Learner(plan, 'd1').train(modules, 3).modules\n"
        "print({n: hashlib.sha256(v.tobytes()).hexdigest() for n, v in sorted(trained.items())})\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, seed],
            input=dump_plan(plan),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    learners = {device: Learner(plan, device) for device in ("d0", "d1")}
    learners["d1"].train(initial(plan), 0)
    learners["d0"].train(initial(plan), 3)
    again = learners["d1"].train(initial(plan), 3)
    digests = {name: hashlib.sha256(v.tobytes()).hexdigest() for name, v in sorted(again.modules.items())}
    assert outputs == {f"{digests}\n"}
    assert (
        learners["d1"].train(initial(plan), 4).modules["adapter"].tobytes()
        != again.modules["adapter"].tobytes()
    )


def test_tasks_are_trained_in_order_on_the_same_adapters() -> None:
    """The adapters that two tasks leave are not those of either task alone."""
    both, first = plan_of(GQA, DIGITS), plan_of(GQA)
    two, one = Learner(both, "d0").train(initial(both), 0), Learner(first, "d0").train(initial(first), 0)
    assert two.modules["head/gqa"].tobytes() == one.modules["head/gqa"].tobytes()
    assert two.losses["gqa"] == one.losses["gqa"]
    assert two.modules["adapter"].tobytes() != one.modules["adapter"].tobytes()


def test_test_shards_are_each_devices_own() -> None:
    plan = plan_of(GQA, devices=3)
    totals = [Learner(plan, f"d{i}").test_samples["gqa"] for i in range(3)]
    assert totals == [4, 3, 3]
    (score,) = Learner(plan, "d0").evaluate(initial(plan))
    assert (score.task, score.total) == ("gqa", 4)
    assert 0 <= score.correct <= 4
    assert 0 <= score.baseline <= 1


def test_training_answers_better_than_before() -> None:
    plan = plan_of(builtin("gqa", test_fraction=0.2), training=TrainingSpec(epochs=3))
    learner = Learner(plan, "d0")
    trained = learner.train(initial(plan), 0)
    (before,), (after,) = learner.evaluate(initial(plan)), learner.evaluate(trained.modules)
    assert after.correct > 2 * before.correct
    assert after.correct / after.total > after.baseline + 0.2
    assert learner.train(trained.modules, 1).losses["gqa"] < trained.losses["gqa"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_learner_works_after_a_fork() -> None:
    """A fork server preloads torch and transformers on one thread."""
    code = (
        "import os, sys, torch; torch.set_num_threads(1)\n"
        "from node.learning.learner import Learner; from node.plan import Plan\n"
        "from node.model.schema import initial_module\n"
        "plan = Plan.model_validate_json(sys.stdin.read())\n"
        "child = os.fork()\n"
        "modules = {m.name: initial_module(m, plan.seed) for m in plan.modules}\n"
        "print(Learner(plan, 'd0').train(modules, 0).losses, flush=True)\n"
        "os._exit(0) if child == 0 else sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    plan = dump_plan(plan_of(GQA, devices=2))
    done = subprocess.run(
        [sys.executable, "-c", code], input=plan, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == second


def test_a_learner_serves_real_images_of_any_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    records = []
    for index in range(12):
        size = (48 + 16 * int(rng.integers(3)), 48 + 16 * int(rng.integers(3)))
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / f"{index}.png")
        answer = ("yes", "no")[index % 2]
        records.append(
            {
                "image": f"{index}.png",
                "question": "is it a circle?" + " is it" * (index % 3),
                "answer": answer,
            }
        )

    (tmp_path / "a.json").write_text(json.dumps(records))
    task = TaskSpec(
        name="art", source="art", answers=2, annotations=str(tmp_path / "a.json"), images=str(tmp_path)
    )
    plan = plan_of(task)
    learner = Learner(plan, "d0")
    trained = learner.train(initial(plan), 0)
    assert trained.samples["adapter"] == 11
    (score,) = learner.evaluate(trained.modules)
    assert score.total == 1


def test_what_is_not_kept_ready_trains_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(GQA)
    kept = Learner(plan, "d0").train(initial(plan), 0)
    monkeypatch.setattr("node.learning.shard.CACHE_BYTES", 0)
    made_anew = Learner(plan, "d0").train(initial(plan), 0)
    np.testing.assert_allclose(made_anew.modules["adapter"], kept.modules["adapter"], atol=1e-3)
    assert made_anew.losses["gqa"] == pytest.approx(kept.losses["gqa"], rel=1e-4)


def test_a_plan_of_another_model_is_refused() -> None:
    plan = plan_of(GQA)
    other = plan_of(builtin("gqa", answers=4))
    mixed = plan.model_copy(update={"modules": other.modules})
    with pytest.raises(ModelError, match=r"'head/gqa' is not as model\.backbone 'builtin:tiny-vilt'"):
        Learner(mixed, "d0")
    with pytest.raises(PlanError, match="no node 'd7'"):
        Learner(plan, "d7")
