"""Folders of the Hugging Face library `datasets`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from node.errors import DataError
from node.learning.learner import Learner
from node.learning.sources import open_corpus
from node.model.schema import initial_module
from node.plan import ModelSpec, TaskSpec
from tests.learning.plans import plan_of

datasets: Any = pytest.importorskip("datasets")
RNG = np.random.default_rng(0)


def task_of(where: Path, columns: dict[str, str], **fields: Any) -> TaskSpec:
    given = {"name": "real", "source": "dataset", "folder": str(where), "columns": columns, "answers": 2}
    return TaskSpec.model_validate(given | fields)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    pictures = [Image.fromarray(RNG.integers(0, 256, (50 + i, 60, 3), np.uint8)) for i in range(12)]
    kinds = datasets.ClassLabel(names=["bird", "cat", "dog"])
    features = datasets.Features(
        {"picture": datasets.Image(), "kind": kinds, "ask": datasets.Value("string")}
    )
    labels = [1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 0, 1]
    rows = {"picture": pictures, "kind": labels, "ask": ["what is it?"] * 12}
    whole = datasets.Dataset.from_dict(rows, features=features)
    parts = {"a": whole.select(range(8)), "b": whole.select(range(8, 12))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path)
    return tmp_path


@pytest.mark.parametrize("backbone", ["builtin:tiny-vilt", "builtin:tiny-clip"])
def test_a_device_learns_from_images_and_class_labels(backbone: str, pets: Path) -> None:
    task = task_of(pets, {"image": "picture", "text": "ask", "answer": "kind"})
    corpus = open_corpus(task, 0)
    assert corpus.answers == ("cat", "dog")  # the two most frequent
    assert len(corpus.labels_N) == 11
    assert corpus.kinds[0] == "what is"
    assert corpus.example(0).image.shape == (50, 60, 3)
    plan = plan_of(task, model=ModelSpec(backbone=backbone, tunings=()))
    trained = Learner(plan, "d0").train({m.name: initial_module(m, 0) for m in plan.modules}, 0)
    assert trained.samples == {"head/real": 10}


def test_series_and_generated_texts(tmp_path: Path) -> None:
    rows = {"signal": RNG.standard_normal((8, 40, 3)).tolist(), "said": ["sits still", "walks fast"] * 4}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path)
    task = task_of(tmp_path, {"series": "signal", "answer": "said"}, words=3)
    assert (task.modalities, task.vocabulary_size) == (("series",), 3)
    plan = plan_of(task, model=ModelSpec(backbone="builtin:tiny-clip", tunings=()))
    learner = Learner(plan, "d0")
    values = {m.name: initial_module(m, 0) for m in plan.modules}
    assert learner.train(values, 0).losses["real"] > 0
    (score,) = learner.evaluate(values)
    assert score.total == 1


@pytest.mark.parametrize(
    ("columns", "fields", "says"),
    [
        ({"image": "photo", "answer": "kind"}, {}, "no column 'photo' for image, only picture, kind, ask"),
        ({"image": "picture"}, {}, "columns: name the column of the answer"),
        ({"image": "picture", "answer": "kind"}, {"answers": 4}, "3 different answers, but the task asks"),
        ({"image": "picture", "answer": "kind"}, {"answers": None}, "answers: needed for source 'dataset'"),
        ({"image": "picture", "answer": "kind"}, {"folder": "/nowhere"}, "/nowhere: not a data set"),
        ({"series": "ask", "answer": "kind"}, {}, "column of series"),
    ],
)
def test_what_is_wrong_is_named(
    columns: dict[str, str], fields: dict[str, Any], says: str, pets: Path
) -> None:
    with pytest.raises(DataError, match=says) as caught:
        open_corpus(task_of(pets, columns, **fields), 0).example(0)
    assert "\n" not in str(caught.value)
