"""How the built-in backbone came about, and what of it ships."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from transformers.models.vilt.modeling_vilt import ViltModel
from transformers.models.vilt.processing_vilt import ViltProcessor

from node.learning import pretrain as pretraining
from node.learning.captions import VOCABULARY
from node.learning.pretrain import pretrain
from node.learning.pretrain_vilt import tiny_config
from node.model.backbone import BUILTIN_FOLDER, read_shape
from node.model.model import load_backbone
from node.model.processing import whiten


@pytest.fixture(autouse=True)
def _few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "SCENES", 300)


def test_pretraining_learns_repeats_and_leaves_a_whole_backbone(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = pretrain(
        tmp_path / "a", seed=1, steps=120, progress=lambda step, steps, _: seen.append((step, steps))
    )
    assert seen == [(100, 120), (120, 120)]
    assert pretrain(tmp_path / "b", seed=1, steps=12) == pretrain(tmp_path / "c", seed=1, steps=12)
    barely = json.loads((tmp_path / "b" / "recipe.json").read_text())
    for name, loss in first["final_losses"].items():
        assert loss < barely["final_losses"][name]
    assert (tmp_path / "b" / "model.safetensors").read_bytes() == (
        tmp_path / "c" / "model.safetensors"
    ).read_bytes()
    load_backbone(str(tmp_path / "a"), read_shape(str(tmp_path / "a")))
    assert read_shape(str(tmp_path / "a")) == read_shape("builtin:tiny-vilt")


def test_what_ships_is_what_its_recipe_says() -> None:
    recipe = json.loads((BUILTIN_FOLDER / "recipe.json").read_text())
    weights = (BUILTIN_FOLDER / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == recipe["weights_sha256"]
    assert len(weights) < 4_000_000
    assert recipe["command"] == f"hffm pretrain --seed {recipe['seed']} --steps {recipe['steps']}"
    processor = ViltProcessor.from_pretrained(BUILTIN_FOLDER)
    assert processor.tokenizer.get_vocab() == {word: index for index, word in enumerate(VOCABULARY)}
    config = ViltModel.from_pretrained(BUILTIN_FOLDER).config
    ours = tiny_config()
    for key in ("hidden_size", "num_hidden_layers", "image_size", "patch_size", "vocab_size", "pad_token_id"):
        assert getattr(config, key) == getattr(ours, key)


def test_pretraining_whitens_as_the_processor_does() -> None:
    processor = ViltProcessor.from_pretrained(BUILTIN_FOLDER)
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    theirs = processor.image_processor(image, return_tensors="pt")["pixel_values"][0]
    assert (theirs - whiten(image[None])[0]).abs().max() < 1e-6
