"""Every task and way to tune learns more than can be guessed, on one device that has all samples."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from node.learning.learner import Learner
from node.model.heads import Generating
from node.model.schema import initial_module
from node.plan import ModelSpec, TrainingSpec
from tests.learning.plans import builtin, plan_of

CLIP = "builtin:tiny-clip"
VILT = "builtin:tiny-vilt"


def spec_of(backbone: str, *tunings: Any, **fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"backbone": backbone, "tunings": tunings, **fields})


@pytest.mark.parametrize(
    ("task", "backbone", "tunings", "samples", "epochs"),
    [
        ("shapes", CLIP, ["lora"], 20, 2),
        ("shapes", VILT, ["prompts"], 20, 3),
        ("motion", CLIP, [], 30, 8),
        ("matching", CLIP, ["adapters"], 100, 3),
        ("captions", CLIP, [], 10, 10),
        ("captions", VILT, [], 10, 10),
        ("gqa", CLIP, ["adapters"], 20, 3),
        ("gqa", VILT, ["lora"], 20, 2),
        ("gqa", VILT, [{"kind": "encoder", "layers": 2}], 20, 2),
    ],
)
def test_more_is_learned_than_can_be_guessed(
    task: str, backbone: str, tunings: Sequence[Any], samples: int, epochs: int
) -> None:
    answers = 12 if task == "captions" else None
    one = builtin(task, samples_per_answer=samples, test_fraction=0.25, answers=answers)
    training = TrainingSpec(epochs=epochs, learning_rate=2e-3)
    plan = plan_of(one, model=spec_of(backbone, *tunings), training=training)
    learner = Learner(plan, "d0")
    trained = learner.train({m.name: initial_module(m, plan.seed) for m in plan.modules}, 0)
    (score,) = learner.evaluate(trained.modules)
    assert score.correct / score.total > score.baseline + 0.1


def test_the_experts_that_matter_are_trained_and_the_others_stay() -> None:
    spec = spec_of(CLIP, experts={"count": 5, "most_relevant": 2})
    plan = plan_of(builtin("shapes", samples_per_answer=4), model=spec)
    before = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    learner = Learner(plan, "d0")
    trained = learner.train(before, 0)
    chosen = {n for n, count in trained.samples.items() if n.startswith("expert/") and count}
    assert len(chosen) == 2
    repelled = max(chosen)
    gate = before["gate"].reshape(5, -1).copy()
    gate[int(repelled.removeprefix("expert/"))] *= -1  # what was drawn to it now is not
    again = learner.train({**before, "gate": gate.ravel()}, 0)
    assert again.samples[repelled] == 0
    assert again.modules[repelled].tobytes() == before[repelled].tobytes()


@pytest.mark.parametrize("missing", ["gate", "expert/"])
def test_experts_without_a_gate_and_a_gate_without_experts_are_not_trained(missing: str) -> None:
    plan = plan_of(builtin("shapes", samples_per_answer=2), model=spec_of(CLIP, experts={"count": 2}))
    held = tuple(m.name for m in plan.modules if not m.name.startswith(missing))
    nodes = [n.model_copy(update={"modules": held}) if n.id == "d0" else n for n in plan.nodes]
    plan = plan.replace(nodes=tuple(nodes))
    trained = Learner(plan, "d0").train(
        {m.name: initial_module(m, 0) for m in plan.modules if m.name in held}, 0
    )
    assert {name for name, count in trained.samples.items() if count} == {"head/shapes"}


def test_a_device_trains_on_what_it_collects_and_holds() -> None:
    tasks = [builtin(name, samples_per_answer=6) for name in ("gqa", "shapes", "motion")]
    plan = plan_of(*tasks, devices=2, model=spec_of(CLIP, "adapters"))
    held = ("adapter/image", "head/shapes")
    camera = {"modalities": ("image",), "modules": held}
    nodes = [n.model_copy(update=camera) if n.id == "d1" else n for n in plan.nodes]
    plan = plan.replace(nodes=tuple(nodes))
    learner = Learner(plan, "d1")
    assert set(learner.train_samples) == {"shapes"}
    values = {m.name: initial_module(m, plan.seed) for m in plan.modules if m.name in held}
    trained = learner.train(values, 0)
    assert set(trained.modules) == set(held)
    assert trained.samples == dict.fromkeys(held, learner.train_samples["shapes"])
    whole = Learner(plan, "d0")
    assert set(whole.train_samples) == {"gqa", "shapes", "motion"}
    assert whole.train_samples["gqa"] == 20 * 6 * 9 // 10  # nobody else has any
    assert whole.samples["adapter/text"] == whole.train_samples["gqa"]


def test_texts_are_generated_to_the_letter() -> None:
    head = Generating(["red circle", "blue", "red red moon"], 4)
    texts = [[i for i in row if i >= 0] for row in head._texts_AL.tolist()]
    assert [len(text) for text in texts] == [3, 2, 4]
    assert {text[-1] for text in texts} == {4}  # the mark that ends a text
    assert texts[0][0] == texts[2][0] == texts[2][1]
    short = Generating(["red circle", "red moon"], 1)  # one word alone: the others are left out
    assert torch.equal(short._texts_AL[0], short._texts_AL[1])
