"""The frozen backbone with adapters computes what transformers' ViLT computes, plus the adapters."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from transformers.models.vilt.modeling_vilt import ViltModel
from transformers.models.vilt.processing_vilt import ViltProcessor

from node.errors import ModelError
from node.model.adapters import add_adapters
from node.model.backbone import BUILTIN, BUILTIN_FOLDER
from node.model.example import Example
from node.model.model import Model, Prepared
from node.model.parameters import FlatParameters
from node.model.schema import initial_module, module_schemas
from node.model.tuning_schema import adapter_tensor
from node.plan import ModelSpec, TaskSpec

torch.set_num_threads(1)
GQA = TaskSpec(name="gqa", source="builtin:gqa")
ADAPTER, HEAD = module_schemas(ModelSpec(), [GQA])
QUESTIONS = ["what color is the red circle?", "is it big?", "what is it?"]


def images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def random_adapter() -> FlatParameters:
    values = np.random.default_rng(1).standard_normal(ADAPTER.size).astype(np.float32) * np.float32(0.1)
    return FlatParameters(ADAPTER, values)


def frozen_model(backbone: str = BUILTIN) -> Model:
    return Model(ModelSpec(backbone=backbone), [GQA], [ADAPTER])


def prepare(model: Model, questions: list[str], pictures: list[np.ndarray]) -> list[Prepared]:
    pairs = zip(questions, pictures, strict=True)
    return model.prepare([Example(question, picture) for question, picture in pairs], GQA)


def pooled(model: Model, samples: list[Prepared], adapter: FlatParameters) -> torch.Tensor:
    model.bind({"adapter": adapter})
    return model.encode(samples, GQA).pooled_BP


@torch.no_grad()
def test_untrained_adapters_leave_the_backbone_as_it_is() -> None:
    """Also with images of several sizes, which transformers pads, resizes places for and shuffles."""
    pictures = images((48, 48), (48, 80), (100, 60))
    processor = ViltProcessor.from_pretrained(BUILTIN_FOLDER)
    inputs = processor(pictures, QUESTIONS, padding=True, return_tensors="pt")
    expected = ViltModel.from_pretrained(BUILTIN_FOLDER).eval()(**inputs).pooler_output
    frozen = frozen_model()
    tokens = prepare(frozen, QUESTIONS, pictures)
    assert len({len(sample[""]) for sample in tokens}) > 1
    untrained = FlatParameters(ADAPTER, initial_module(ADAPTER, 0))
    torch.testing.assert_close(pooled(frozen, tokens, untrained), expected, atol=1e-4, rtol=1e-3)
    assert (pooled(frozen, tokens, random_adapter()) - expected).abs().max() > 0.05


@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch() -> None:
    frozen, adapter = frozen_model(), random_adapter()
    pictures = images((48, 48), (48, 96), (64, 48))
    together = pooled(frozen, prepare(frozen, QUESTIONS, pictures), adapter)
    for place, (question, picture) in enumerate(zip(QUESTIONS, pictures, strict=True)):
        alone = pooled(frozen, prepare(frozen, [question], [picture]), adapter)
        torch.testing.assert_close(alone[0], together[place], atol=1e-4, rtol=1e-3)


def test_what_is_prepared_does_not_depend_on_the_global_generator() -> None:
    frozen = frozen_model()
    torch.manual_seed(1)
    first = prepare(frozen, QUESTIONS[:1], images((48, 48)))[0][""]
    torch.manual_seed(2)
    assert torch.equal(first, prepare(frozen, QUESTIONS[:1], images((48, 48)))[0][""])


@torch.no_grad()
def test_the_outputs_of_the_two_adapters_are_added() -> None:
    adapter = random_adapter().tensors
    hidden = torch.randn(2, 5, 128)
    expected = hidden.clone()
    for branch in ("a", "b"):
        down, up = nn.Linear(128, 32), nn.Linear(32, 128)
        for name, layer in (("down", down), ("up", up)):
            for part in ("weight", "bias"):
                ours = adapter[adapter_tensor(2, branch, f"{name}.{part}")]
                assert ours.shape == getattr(layer, part).shape
                getattr(layer, part).copy_(ours)
        expected += up(F.relu(down(hidden)))
    torch.testing.assert_close(add_adapters(hidden, 2, adapter), expected, atol=1e-5, rtol=1e-5)


def test_a_head_has_the_shape_of_a_linear_layer() -> None:
    layer = nn.Linear(128, 20)
    shapes = {tensor.name: tensor.shape for tensor in HEAD.tensors}
    assert shapes == {name: tuple(value.shape) for name, value in layer.named_parameters()}


def test_stepping_the_flat_vector_is_stepping_each_tensor() -> None:
    start = initial_module(HEAD, 0)
    ours = FlatParameters(HEAD, start)
    theirs = {name: value.detach().clone().requires_grad_() for name, value in ours.tensors.items()}
    optimizers = [ours.optimizer(1e-2, 0.1), torch.optim.AdamW(list(theirs.values()), 1e-2, weight_decay=0.1)]
    inputs, labels = torch.randn(8, 128), torch.arange(8)
    for _ in range(3):
        for parameters, optimizer in zip((ours.tensors, theirs), optimizers, strict=True):
            ours.zero_grad()
            optimizers[1].zero_grad()
            F.cross_entropy(F.linear(inputs, parameters["weight"], parameters["bias"]), labels).backward()
            optimizer.step()
    for name, value in theirs.items():
        torch.testing.assert_close(ours.tensors[name], value, atol=1e-6, rtol=1e-5)
    assert start.tobytes() == initial_module(HEAD, 0).tobytes()
    assert ours.values.tobytes() != start.tobytes()
    np.testing.assert_array_equal(ours.values[:20], ours.tensors["bias"].detach().numpy())


def test_a_folder_serves_as_a_backbone(tmp_path: Path) -> None:
    folder = copy_of_builtin(tmp_path)
    theirs, ours = (
        prepare(model, QUESTIONS[:1], images((48, 48)))[0][""]
        for model in (frozen_model(str(folder)), frozen_model())
    )
    assert torch.equal(theirs, ours)


def copy_of_builtin(tmp_path: Path) -> Path:
    return shutil.copytree(BUILTIN_FOLDER, tmp_path / "vilt")


def not_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x08" + bytes(20))


def one_weight_short(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["pooler.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def no_image_processor(folder: Path) -> None:
    (folder / "processor_config.json").unlink()


@pytest.mark.parametrize(
    "harm", [not_safetensors, one_weight_short, no_weights, no_tokenizer, no_image_processor]
)
@pytest.mark.filterwarnings("ignore")  # what transformers says of it besides
def test_a_folder_that_is_not_whole_is_named(harm: Callable[[Path], None], tmp_path: Path) -> None:
    folder = copy_of_builtin(tmp_path)
    harm(folder)
    with pytest.raises(ModelError, match=f"{folder}: .*save_pretrained") as caught:
        frozen_model(str(folder))
    assert "\n" not in str(caught.value)
