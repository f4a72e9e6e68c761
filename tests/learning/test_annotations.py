"""Annotation files and image folders, in the formats of GQA, Art (AQUA) and VizWiz."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from node.errors import DataError
from node.learning.corpus import Corpus
from node.learning.sources import open_corpus
from node.plan import TaskSpec

ANSWERS = ("yes", "yes", "yes", "no", "no", "red")


def folder_of_images(tmp_path: Path, count: int = 6) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(count):
        Image.new("RGB", (20, 10), (index * 40, 0, 0)).save(folder / f"{index}.png")
    return folder


def opened(tmp_path: Path, document: Any, *, answers: int = 2, cap: int = 60, name: str = "a.json") -> Corpus:
    path = tmp_path / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return open_corpus(task(path, tmp_path / "images", answers=answers, samples_per_answer=cap), 0)


def task(annotations: Path, images: Path, **fields: Any) -> TaskSpec:
    paths = {"annotations": str(annotations), "images": str(images)}
    return TaskSpec.model_validate({"name": "t", "source": "gqa", **paths, **fields})


def rows(**extra: Any) -> list[dict[str, Any]]:
    return [
        {"image": f"{i}.png", "question": f"is it {i}?", "answer": a, **extra} for i, a in enumerate(ANSWERS)
    ]


def without(key: str, row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def gqa(tmp_path: Path) -> Corpus:
    by_id = {f"0{i}": {"imageId": str(i), **without("image", r)} for i, r in enumerate(rows())}
    return opened(tmp_path, by_id)


def art(tmp_path: Path) -> Corpus:
    return opened(tmp_path, rows(need_external_knowledge=False))


def vizwiz(tmp_path: Path) -> Corpus:
    """Ten people answered each question, and disagree."""
    said = [[r["answer"].title(), r["answer"]] for r in rows()]
    people = [[{"answer": a, "answer_confidence": "yes"} for a in ("other", *answers)] for answers in said]
    return opened(
        tmp_path, [{**without("answer", r), "answers": p} for r, p in zip(rows(), people, strict=True)]
    )


def prepared(tmp_path: Path) -> Corpus:
    records = [
        {"image_id": i, "question": r["question"], "label": ("yes", "no").index(r["answer"])}
        for i, r in enumerate(rows()[:5])
    ]
    return opened(tmp_path, {"vocabulary": ["yes", "no"], "records": records})


def lines(tmp_path: Path) -> Corpus:
    return opened(tmp_path, "\n".join(map(json.dumps, rows())) + "\n", name="a.jsonl")


@pytest.mark.parametrize("form", [gqa, art, vizwiz, prepared, lines])
def test_each_format_gives_the_same_corpus(form: Any, tmp_path: Path) -> None:
    folder_of_images(tmp_path)
    corpus = form(tmp_path)
    assert corpus.answers == ("yes", "no")
    assert corpus.labels_N.tolist() == [0, 0, 0, 1, 1]  # "red" is not among the two most frequent
    assert corpus.kinds == ["is it"] * 5
    example = corpus.example(4)
    assert example.text == "is it 4?"
    assert example.image.shape == (10, 20, 3)
    assert example.image[0, 0].tolist() == [160, 0, 0]


def test_a_cap_holds_for_each_answer_and_the_seed_chooses(tmp_path: Path) -> None:
    folder_of_images(tmp_path, 60)
    many = [{"image": f"{i}.png", "question": "is it?", "answer": ("yes", "no")[i % 2]} for i in range(60)]
    assert Counter(opened(tmp_path, many, cap=10).labels_N.tolist()) == {0: 10, 1: 10}
    spec = task(tmp_path / "a.json", tmp_path / "images", answers=2, samples_per_answer=10)

    def chosen(seed: int) -> bytes:
        corpus = open_corpus(spec, seed)
        return b"".join(corpus.example(i).image.tobytes() for i in range(20))

    assert chosen(1) == chosen(1)
    assert chosen(1) != chosen(2)


def changed(index: int, **fields: Any) -> list[dict[str, Any]]:
    changed_rows = rows()
    changed_rows[index] = {k: v for k, v in {**changed_rows[index], **fields}.items() if v is not None}
    return changed_rows


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("{", "a.json: not JSON"),
        ("3", "a.json: holds no list of records"),
        ([], "a.json: holds no record"),
        (["x"], "record 0: not an object"),
        (changed(2, image=None), "record 2: image: missing"),
        (changed(2, question=None), "record 2: question: missing"),
        (changed(2, answer=None), "record 2: answers: missing"),
        (changed(2, answer=["yes", None]), "record 2: answer: missing or not text"),
        (changed(2, image="9.png"), "record 2: image: '9.png' is not in .*images"),
        ([{**r, "answer": "yes"} for r in rows()], "1 different answers, but the task asks for 2.*task 't'"),
        (
            {"vocabulary": ["yes"], "records": rows()[:3]},
            "vocabulary: has 1 answers, but the task asks for 2",
        ),
        ({"vocabulary": ["yes", "Yes"], "records": rows()}, "vocabulary: an answer stands there twice"),
        ({"vocabulary": ["yes", 3], "records": rows()}, "vocabulary: not a list of answers"),
        (
            {"vocabulary": ["yes", "no"], "records": rows()},
            "record 5: answer: 'red' is not in the vocabulary",
        ),
        (
            {"vocabulary": ["yes", "no"], "records": rows(label=2)},
            r"record 0: label: 2 is outside .*\(0 to 1\)",
        ),
        ({"x7": {"imageId": "0", "question": "is it?"}}, "record 'x7': answers: missing"),
    ],
)
def test_a_bad_record_is_named_in_one_line(document: Any, says: str, tmp_path: Path) -> None:
    folder_of_images(tmp_path)
    with pytest.raises(DataError, match=says) as caught:
        opened(tmp_path, document)
    assert str(tmp_path / "a.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"task 't': images: {tmp_path}/images: no such folder"):
        opened(tmp_path, rows())
    folder_of_images(tmp_path)
    with pytest.raises(DataError, match=r"b\.json: cannot read it: No such file"):
        open_corpus(task(tmp_path / "b.json", tmp_path / "images", answers=2), 0)
    with pytest.raises(DataError, match="task 't': annotations: needed for source 'gqa'"):
        open_corpus(TaskSpec(name="t", source="gqa", answers=2, images=str(tmp_path)), 0)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    folder = folder_of_images(tmp_path)
    corpus = art(tmp_path)
    (folder / "0.png").write_text("not an image")
    with pytest.raises(DataError, match=r"0\.png: not a readable image \(record 0\)"):
        corpus.example(0)
    assert np.all(corpus.example(1).image[..., 0] == 40)
