"""Ways to tune: each yields modules that change what they should, and nothing before they are trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.vilt.modeling_vilt import ViltModel
from transformers.models.vilt.processing_vilt import ViltProcessor

from node.learning.learner import Learner
from node.model.adapters import attach_adapters
from node.model.backbone import BUILTIN_FOLDER
from node.model.example import Example
from node.model.model import Model
from node.model.peft_folder import load_peft, save_peft
from node.model.schema import Flat, initial_module, module_schemas, tensor_views
from node.plan import ModelSpec, TaskSpec
from tests.learning.plans import builtin, plan_of

# What PEFT asks transformers, which warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")

GQA = TaskSpec(name="gqa", source="builtin:gqa")
QUESTION = "what color is the red circle?"
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
EVERY = ["adapters", "lora", "prompts", {"kind": "encoder", "layers": 2}]


def spec_of(*tunings: Any, **fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"tunings": tunings, **fields})


def drawn(modules: Any) -> dict[str, Flat]:
    rng = np.random.default_rng(1)
    return {m.name: rng.standard_normal(m.size).astype(np.float32) * np.float32(0.1) for m in modules}


@torch.no_grad()
def pooled(spec: ModelSpec, values: dict[str, Flat], *names: str) -> torch.Tensor:
    modules = [m for m in module_schemas(spec, [GQA]) if m.name in names]
    model = Model(spec, [GQA], modules)
    model.bind({m.name: model.parameters(m.name, values[m.name]) for m in modules})
    return model.encode(model.prepare([Example(QUESTION, PICTURE)], GQA), GQA).pooled_BP


def plain_inputs() -> Any:
    processor = ViltProcessor.from_pretrained(BUILTIN_FOLDER)
    return processor(PICTURE, QUESTION, return_tensors="pt")


@pytest.mark.parametrize("kind", ["adapters", "lora", "encoder"])
def test_what_is_not_trained_leaves_the_backbone_as_it_is(kind: str) -> None:
    spec = spec_of(kind)
    modules = module_schemas(spec, [GQA])
    name = modules[0].name
    plain = pooled(spec, {})
    untrained = pooled(spec, {m.name: initial_module(m, 0) for m in modules}, name)
    torch.testing.assert_close(untrained, plain, atol=1e-5, rtol=1e-4)
    assert (pooled(spec, drawn(modules), name) - plain).abs().max() > 0.01


def test_every_way_to_tune_has_modules_of_its_own() -> None:
    modules = module_schemas(spec_of(*EVERY, experts={"count": 2}), [GQA, builtin("shapes")])
    names = [m.name for m in modules]
    heads = ["head/gqa", "head/shapes"]
    mixture = ["gate", "expert/0", "expert/1"]
    assert names == ["adapter", "lora", "prompt/gqa", "prompt/shapes", "encoder", *mixture, *heads]
    (encoder,) = [m for m in modules if m.name == "encoder"]
    assert {t.name.split(".")[2] for t in encoder.tensors} == {"2", "3"}  # the last two of four layers


def test_a_round_trains_all_that_is_tuned_and_only_that() -> None:
    few = builtin("gqa", samples_per_answer=2)
    plan = plan_of(few, model=spec_of(*EVERY, experts={"count": 3, "most_relevant": 1}))
    before = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    learner = Learner(plan, "d0")
    backbone = {
        n: p.detach().clone() for n, p in ViltModel.from_pretrained(BUILTIN_FOLDER).named_parameters()
    }
    trained = learner.train(before, 0)
    moved = {name for name in before if not np.array_equal(trained.modules[name], before[name])}
    experts = {name for name in before if name.startswith("expert/")}
    assert len(moved & experts) == 1  # the most relevant one
    assert moved == {m for m in before if m not in experts} | (moved & experts)
    assert {name for name in before if trained.samples[name] > 0} == moved
    again = learner.train(before, 0)
    for name in before:
        assert again.modules[name].tobytes() == trained.modules[name].tobytes()
    fresh = dict(ViltModel.from_pretrained(BUILTIN_FOLDER).named_parameters())
    assert all(torch.equal(fresh[name], value) for name, value in backbone.items())


def test_lora_computes_what_peft_computes(tmp_path: Path) -> None:
    from peft import PeftModel

    spec = spec_of({"kind": "lora", "rank": 4, "alpha": 12})
    plan = plan_of(GQA, model=spec)
    values = drawn(plan.modules)
    ours = pooled(spec, values, "lora")
    assert save_peft(plan, values, tmp_path) == ["lora"]
    theirs = PeftModel.from_pretrained(ViltModel.from_pretrained(BUILTIN_FOLDER), tmp_path).eval()
    torch.testing.assert_close(ours, theirs(**plain_inputs()).pooler_output, atol=1e-5, rtol=1e-5)
    assert load_peft(plan, tmp_path)["lora"].tobytes() == values["lora"].tobytes()


def test_what_peft_saves_is_read_back(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], init_lora_weights=False)
    theirs = get_peft_model(ViltModel.from_pretrained(BUILTIN_FOLDER), config).eval()
    theirs.save_pretrained(tmp_path)
    spec = spec_of("lora")
    ours = pooled(spec, load_peft(plan_of(GQA, model=spec), tmp_path), "lora")
    torch.testing.assert_close(ours, theirs(**plain_inputs()).pooler_output, atol=1e-5, rtol=1e-5)


def test_adapters_and_lora_travel_in_one_folder(tmp_path: Path) -> None:
    from peft import PeftModel

    spec = spec_of({"kind": "adapters", "bottleneck": 8}, "lora")
    plan = plan_of(GQA, model=spec)
    values = drawn(plan.modules)
    assert save_peft(plan, values, tmp_path) == ["adapter", "lora"]
    base = attach_adapters(ViltModel.from_pretrained(BUILTIN_FOLDER), 8)
    theirs = PeftModel.from_pretrained(base, tmp_path).eval()
    ours = pooled(spec, values, "adapter", "lora")
    torch.testing.assert_close(ours, theirs(**plain_inputs()).pooler_output, atol=1e-4, rtol=1e-4)
    back = load_peft(plan, tmp_path)
    assert {n: v.tobytes() for n, v in back.items()} == {n: values[n].tobytes() for n in ("adapter", "lora")}


def test_adapters_alone_load_with_peft(tmp_path: Path) -> None:
    from peft import PeftModel

    spec = spec_of({"kind": "adapters", "bottleneck": 8})
    values = drawn(module_schemas(spec, [GQA]))
    save_peft(plan_of(GQA, model=spec), values, tmp_path)
    base = attach_adapters(ViltModel.from_pretrained(BUILTIN_FOLDER), 8)
    theirs = PeftModel.from_pretrained(base, tmp_path).eval()
    torch.testing.assert_close(
        pooled(spec, values, "adapter"), theirs(**plain_inputs()).pooler_output, atol=1e-4, rtol=1e-4
    )


def test_values_of_modules_are_views_in_order() -> None:
    (lora, _) = module_schemas(spec_of("lora"), [GQA])
    names = [name for name, _ in tensor_views(lora, initial_module(lora, 0))]
    assert names == sorted(names)
    assert all(name.endswith((".lora_A.weight", ".lora_B.weight")) for name in names)
