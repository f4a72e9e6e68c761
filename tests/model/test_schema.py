"""Names, shapes and initial values of modules: what every node agrees on without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from node.errors import DataError, ModelError
from node.model.backbone import BUILTIN_FOLDER
from node.model.schema import initial_module, module_schemas, tensor_views
from node.model.weights import weight_shapes
from node.plan import Adapters, Lora, ModelSpec, TaskSpec

GQA = TaskSpec(name="gqa", source="builtin:gqa")
ART = TaskSpec(name="art", source="builtin:art")


def test_one_adapter_and_a_head_for_each_task() -> None:
    modules = module_schemas(ModelSpec(), [GQA, ART])
    assert [(m.name, m.task) for m in modules] == [
        ("adapter", None),
        ("head/gqa", "gqa"),
        ("head/art", "art"),
    ]
    assert modules[1].size == 20 * 128 + 20
    for module in modules:
        names = [tensor.name for tensor in module.tensors]
        assert names == sorted(set(names))


def test_the_papers_adapters_have_9_46_million_parameters(tmp_path: Path) -> None:
    """ViLT-B/32 with two adapters of bottleneck 256 in each of its 12 layers."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vilt", "hidden_size": 768}))
    (adapter,) = module_schemas(ModelSpec(backbone=str(tmp_path), tunings=(Adapters(bottleneck=256),)), [])
    assert adapter.size == 12 * 2 * (2 * 768 * 256 + 768 + 256) == 9_461_760


def test_schemas_and_initial_values_need_no_torch() -> None:
    code = (
        "import sys\n"
        "from node.model.schema import initial_module, module_schemas\n"
        "from node.plan import Adapters, ModelSpec, TaskSpec\n"
        "task = TaskSpec(name='gqa', source='builtin:gqa')\n"
        "[initial_module(m, 0) for m in module_schemas(ModelSpec(), [task])]\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_initial_values_depend_on_seed_and_module_only() -> None:
    adapter, head, other = module_schemas(ModelSpec(), [GQA, ART])
    (alone,) = module_schemas(ModelSpec(), [])
    assert initial_module(adapter, 3).tobytes() == initial_module(alone, 3).tobytes()
    assert initial_module(adapter, 3).tobytes() != initial_module(adapter, 4).tobytes()
    assert initial_module(head, 3)[20:60].tolist() != initial_module(other, 3)[10:50].tolist()


def test_initial_adapters_add_nothing_and_can_learn() -> None:
    adapter, head = module_schemas(ModelSpec(), [GQA])
    for name, value in tensor_views(adapter, initial_module(adapter, 0)):
        if name.endswith("down.weight"):
            assert value.std() == pytest.approx(0.02, rel=0.1)
        else:
            assert not value.any()
    assert dict(tensor_views(head, initial_module(head, 0)))["weight"].std() == pytest.approx(0.02, rel=0.1)


def test_views_cover_the_flat_vector_once() -> None:
    adapter, _ = module_schemas(ModelSpec(), [GQA])
    flat = np.zeros(adapter.size, np.float32)
    for _, view in tensor_views(adapter, flat):
        view += 1
    assert (flat == 1).all()
    with pytest.raises(ValueError, match="adapter"):
        list(tensor_views(adapter, flat[1:]))


def test_weights_may_be_in_several_files_and_part_of_a_larger_model(tmp_path: Path) -> None:
    plain = weight_shapes("builtin:tiny-vilt")
    tensors = load_file(BUILTIN_FOLDER / "model.safetensors")
    assert plain == {name: value.shape for name, value in tensors.items()}
    names = sorted(tensors)
    files = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
    for file, members in files.items():
        save_file({f"vilt.{name}": tensors[name] for name in members}, tmp_path / file)
    index = {"weight_map": {f"vilt.{name}": file for file, members in files.items() for name in members}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weight_shapes(str(tmp_path)) == plain


def test_lora_of_a_backbone_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vilt", "hidden_size": 768}))
    with pytest.raises(ModelError, match=r"model\.safetensors: no such file; save"):
        module_schemas(ModelSpec(backbone=str(tmp_path), tunings=(Lora(),)), [GQA])
    with pytest.raises(ModelError, match="lora: targets: no linear layer of the encoder is named q_proj"):
        module_schemas(ModelSpec(tunings=(Lora(targets=("q_proj",)),)), [GQA])


@pytest.mark.parametrize(
    ("backbone", "config", "says"),
    [
        ("builtin:huge", None, "builtin:huge.*use 'builtin:tiny-vilt'"),
        ("/no/such/folder", None, "/no/such/folder.*config.json"),
        ("", None, "config.json.*save_pretrained"),
        ("", "{", "config.json: not JSON"),
        ("", '{"model_type": "bert"}', "config.json: model_type: 'bert'"),
        ("", '{"model_type": "vilt", "hidden_size": "wide"}', "config.json: hidden_size: 'wide'"),
    ],
)
def test_a_bad_backbone_is_named(backbone: str, config: str | None, says: str, tmp_path: Path) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelError, match=says) as caught:
        module_schemas(ModelSpec(backbone=backbone or str(tmp_path)), [])
    assert "\n" not in str(caught.value)


def test_the_number_of_answers_is_checked() -> None:
    with pytest.raises(DataError, match="task 'real': answers: needed"):
        module_schemas(ModelSpec(), [TaskSpec(name="real", source="vizwiz")])
    with pytest.raises(DataError, match="task 'gqa': answers: 21 asked for"):
        module_schemas(ModelSpec(), [GQA.model_copy(update={"answers": 21})])
