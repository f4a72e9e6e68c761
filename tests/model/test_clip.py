"""CLIP's two encoders compute what transformers computes; a mixture and series stand beside them."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers.models.clip.modeling_clip import CLIPModel
from transformers.models.clip.processing_clip import CLIPProcessor

from node.errors import ModelError
from node.model.backbone import BUILTIN_CLIP, BUILTIN_FOLDERS, model_shape
from node.model.example import Example
from node.model.mixture import mix, shares
from node.model.model import Model
from node.model.schema import initial_module, module_schemas
from node.plan import ModelSpec, TaskSpec

FOLDER = BUILTIN_FOLDERS[BUILTIN_CLIP]
GQA = TaskSpec(name="gqa", source="builtin:gqa")
SHAPES = TaskSpec(name="shapes", source="builtin:shapes")
MOTION = TaskSpec(name="motion", source="builtin:motion")
QUESTIONS = ["what color is the red circle?", "is it big?", "what is it?"]
RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (48, 48, 3), np.uint8), *RNG.integers(0, 256, (2, 60, 90, 3), np.uint8)]


def spec_of(*tunings: Any, **fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"backbone": BUILTIN_CLIP, "tunings": tunings, **fields})


def built(spec: ModelSpec, tasks: list[TaskSpec], *without: str) -> Model:
    modules = [m for m in module_schemas(spec, tasks) if m.name not in without]
    model = Model(spec, tasks, modules)
    rng = np.random.default_rng(1)
    values = {m.name: rng.standard_normal(m.size).astype(np.float32) * np.float32(0.1) for m in modules}
    model.bind({name: model.parameters(name, value) for name, value in values.items()})
    return model


def pooled(model: Model, task: TaskSpec, *examples: Example) -> torch.Tensor:
    with torch.no_grad():
        return model.encode(model.prepare(examples, task), task).pooled_BP


def test_frozen_encoders_compute_what_clip_computes() -> None:
    processor = CLIPProcessor.from_pretrained(FOLDER)
    inputs = processor(text=QUESTIONS, images=PICTURES, padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = CLIPModel.from_pretrained(FOLDER).eval()(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            pixel_values=inputs["pixel_values"],
        )
    ours = pooled(built(spec_of(), [GQA]), GQA, *map(Example, QUESTIONS, PICTURES))
    text, image, product = ours.split(128, dim=1)
    for one, other in ((text, theirs.text_embeds), (image, theirs.image_embeds)):
        torch.testing.assert_close(F.normalize(one), F.normalize(other), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(product, text * image)


@pytest.mark.parametrize("kind", ["adapters", "lora", "encoder"])
def test_a_tuning_changes_the_encoder_that_it_belongs_to(kind: str) -> None:
    examples = [Example("what is it?", PICTURES[0])]
    plain = pooled(built(spec_of(), [GQA]), GQA, *examples)
    for missing, same in (("image", slice(128, 256)), ("text", slice(0, 128))):
        tuned = pooled(built(spec_of(kind), [GQA], f"{kind.removesuffix('s')}/{missing}"), GQA, *examples)
        torch.testing.assert_close(tuned[:, same], plain[:, same], atol=1e-4, rtol=1e-3)
        assert (tuned - plain).abs().max() > 0.01


def test_prompts_change_both_encoders() -> None:
    examples = [Example("what is it?", PICTURES[0])]
    plain, prompted = (pooled(built(spec_of(*t), [GQA]), GQA, *examples) for t in ([], ["prompts"]))
    assert ((prompted - plain)[:, :256].abs().view(2, 128).amax(1) > 0.01).all()


def test_a_task_of_images_leaves_the_text_out() -> None:
    found = pooled(built(spec_of(), [GQA, SHAPES]), SHAPES, Example(image=PICTURES[0]))
    assert not found[:, :128].any()
    assert found[:, 128:256].any()


def test_series_are_seen_through_the_same_convolutions_everywhere() -> None:
    series = np.random.default_rng(2).standard_normal((96, 3)).astype(np.float32)
    both = [built(spec_of("adapters"), [GQA, MOTION]) for _ in range(2)]
    first, second = (pooled(model, MOTION, Example(series=series)) for model in both)
    assert torch.equal(first, second)
    assert first.shape == (1, model_shape(spec_of(), [MOTION]).pooled) == (1, 3 * 128 + 256)
    assert not first[:, :384].any()
    assert (pooled(both[0], MOTION, Example(series=series[::-1].copy())) - first).abs().max() > 0.1


def test_experts_that_are_not_there_leave_their_share_to_the_others() -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    pooled_BD, gate = drawn(5, 6), {"weight": drawn(3, 6)}
    assert torch.allclose(shares(pooled_BD, gate, [0, 2]).sum(1), torch.ones(5))
    expert = {
        "down.weight": drawn(4, 6),
        "down.bias": drawn(4),
        "up.weight": drawn(6, 4),
        "up.bias": drawn(6),
    }
    inner = F.relu(F.linear(pooled_BD, expert["down.weight"], expert["down.bias"]))
    alone = pooled_BD + F.linear(inner, expert["up.weight"], expert["up.bias"])
    torch.testing.assert_close(mix(pooled_BD, gate, {1: expert}), alone)
    torch.testing.assert_close(mix(pooled_BD, gate, {0: expert, 2: expert}), alone)
    assert torch.equal(mix(pooled_BD, gate, {}), pooled_BD)


def test_modules_of_both_encoders() -> None:
    modules = module_schemas(spec_of("adapters", "lora", "encoder"), [GQA])
    names = ["adapter/text", "adapter/image", "lora/text", "lora/image", "encoder/text", "encoder/image"]
    assert [m.name for m in modules] == [*names, "head/gqa"]
    assert [m.modality for m in modules] == ["text", "image"] * 3 + [None]
    for module in modules[4:6]:
        assert not initial_module(module, 3).any()  # the difference from the backbone


def test_what_ships_is_what_its_recipe_says() -> None:
    recipe = json.loads((FOLDER / "recipe.json").read_text())
    weights = (FOLDER / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == recipe["weights_sha256"]
    assert len(weights) < 4_000_000
    wanted = f"hffm pretrain --seed {recipe['seed']} --steps {recipe['steps']} --backbone {BUILTIN_CLIP}"
    assert recipe["command"] == wanted


@pytest.mark.parametrize("part", ["tokenizer.json", "processor_config.json", "model.safetensors"])
@pytest.mark.filterwarnings("ignore")  # what transformers says of it besides
def test_a_folder_that_is_not_whole_is_named(part: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "clip")
    (folder / part).unlink()
    spec = ModelSpec(backbone=str(folder), tunings=())
    with pytest.raises(ModelError, match=f"{folder}.*save_pretrained") as caught:
        Model(spec, [GQA], module_schemas(spec, [GQA]))
    assert "\n" not in str(caught.value)
