"""Models on another device than the CPU. torch's `meta` stands in for a GPU: it has shapes and no values, and
refuses to compute with what lies elsewhere, as a GPU does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from node.errors import ModelError
from node.learning.learner import Learner
from node.model.example import Example
from node.model.heads import make_head
from node.model.model import Model
from node.model.placement import device_of, placed
from node.model.schema import initial_module, module_schemas
from node.plan import ModelSpec, TaskSpec, TrainingSpec
from tests.learning.plans import builtin, plan_of

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")

META = torch.device("meta")
TUNINGS = ["adapters", "lora", "prompts"]  # not `encoder`, which reads the values of the backbone
CHOOSING = TaskSpec(name="gqa", source="builtin:gqa", answers=3)
TELLING = TaskSpec(name="captions", source="builtin:captions")
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
EXAMPLES = [Example("what color is the red circle?", PICTURE), Example("what color?", PICTURE)]


@pytest.mark.parametrize("task", [CHOOSING, TELLING], ids=lambda task: task.name)
@pytest.mark.parametrize("backbone", ["builtin:tiny-vilt", "builtin:tiny-clip"])
def test_a_step_of_training_stays_on_its_device(backbone: str, task: TaskSpec) -> None:
    spec = ModelSpec.model_validate({"backbone": backbone, "tunings": TUNINGS, "experts": {"count": 2}})
    modules = module_schemas(spec, [task])
    # What is made of samples lies in the machine's memory, wherever it was computed.
    prepared = Model(spec, [task], modules).prepare(EXAMPLES, task)
    model = Model(spec, [task], modules, META)
    head = make_head(task, ["a red circle", "a blue square", "two of them"])
    with placed(META):
        parameters = {m.name: model.parameters(m.name, initial_module(m, 0)) for m in modules}
        model.bind(parameters)
        loss = head.loss(model.encode(prepared, task), torch.tensor([0, 2]), model.head(task))
        loss.backward()
        head.right(model.encode(prepared, task), torch.tensor([0, 2]), model.head(task))
    assert loss.device == META
    assert all(one.flat_P.grad is not None and one.flat_P.grad.device == META for one in parameters.values())


def test_without_a_gpu_the_cpu_computes_unless_a_gpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    with pytest.raises(ModelError, match=r"training.device: cuda, and torch finds no NVIDIA GPU"):
        Learner(plan_of(builtin("gqa"), training=TrainingSpec(device="cuda")), "d0")
