"""Annotation files of visual question answering, read into plain records.

GQA      {"02930152": {"imageId": "2354786", "question": ..., "answer": "yes", ...}, ...}
AQUA     [{"image": "4323-1.jpg", "question": ..., "answer": "flower", ...}, ...]
VizWiz   [{"image": "VizWiz_train_00000000.jpg", "question": ..., "answers": [{"answer": "basil", ...}, ...]}, ...]
prepared {"vocabulary": ["yes", "no", ...], "records": [{"image" or "image_id": ..., "question": ...,
         "answer" or "answers" or "label" (a place in the vocabulary): ...}, ...]}
All may have the shape of any other, and a list may also stand as one record per line (.jsonl).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.errors import DataError


@dataclass(frozen=True)
class Record:
    key: str  # where it stands in its file: "record 12", or its id
    image: str  # a file name, or an id that is the name without its ending
    question: str
    answer: str


@dataclass(frozen=True)
class Annotations:
    records: list[Record]
    vocabulary: tuple[str, ...] | None  # None: to be chosen from the answers


def read_annotations(path: Path) -> Annotations:
    """Raises DataError, naming the file, the record and the remedy."""
    document = _document(path)
    vocabulary: tuple[str, ...] | None = None
    if isinstance(document, dict) and "records" in document:
        vocabulary = _vocabulary(path, document)
        document = document["records"]
    if isinstance(document, dict):
        rows = [(f"record '{key}'", row) for key, row in document.items()]
    elif isinstance(document, list):
        rows = [(f"record {index}", row) for index, row in enumerate(document)]
    else:
        raise DataError(f"{path}: holds no list of records; give a JSON list, or an object of records by id")
    if not rows:
        raise DataError(f"{path}: holds no record; give a JSON list, or an object of records by id")
    return Annotations([_record(path, key, row, vocabulary) for key, row in rows], vocabulary)


def _document(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror}; set the task's `annotations`") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text; give a JSON file") from error
    try:
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); give a JSON file, or .jsonl for JSON lines") from error


def _vocabulary(path: Path, document: dict[str, Any]) -> tuple[str, ...] | None:
    names = document.get("vocabulary")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
        raise DataError(f"{path}: vocabulary: not a list of answers; list each answer once, as text")
    plain = tuple(map(_plain, names))
    if len(set(plain)) != len(plain):
        raise DataError(f"{path}: vocabulary: an answer stands there twice; list each answer once")
    return plain


def _record(path: Path, key: str, row: Any, vocabulary: tuple[str, ...] | None) -> Record:
    if not isinstance(row, dict):
        raise DataError(f"{path}: {key}: not an object; give image, question and answer")
    image = next((row[name] for name in ("image", "image_id", "imageId") if name in row), None)
    if not isinstance(image, (str, int)) or not str(image).strip():
        raise DataError(f"{path}: {key}: image: missing; give `image` (a file name) or `image_id`")
    question = row.get("question")
    if not isinstance(question, str) or not question.strip():
        raise DataError(
            f"{path}: {key}: question: missing or not text; write the question, or drop the record"
        )
    answer = _answer(path, key, row, vocabulary)
    return Record(key, str(image), question.strip(), answer)


def _answer(path: Path, key: str, row: dict[str, Any], vocabulary: tuple[str, ...] | None) -> str:
    if "label" in row and vocabulary is not None:
        label = row["label"]
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(vocabulary):
            why = f"{label!r} is outside the vocabulary (0 to {len(vocabulary) - 1})"
            raise DataError(f"{path}: {key}: label: {why}; correct it, or drop the record")
        return vocabulary[label]
    name = "answer" if "answer" in row else "answers"
    given = row.get(name)
    many = given if isinstance(given, list) else [given]
    texts = [a.get("answer") if isinstance(a, dict) else a for a in many]
    if not texts or not all(isinstance(text, (str, int)) and str(text).strip() for text in texts):
        why = "missing or not text; give `answer`, or `answers` as a list"
        raise DataError(f"{path}: {key}: {name}: {why}")
    # People differ: the most frequent answer, and of equally frequent ones the first given.
    answer = Counter(_plain(str(text)) for text in texts).most_common(1)[0][0]
    if vocabulary is not None and answer not in vocabulary:
        raise DataError(
            f"{path}: {key}: {name}: '{answer}' is not in the vocabulary; add it, or drop the record"
        )
    return answer


def _plain(answer: str) -> str:
    return " ".join(answer.lower().split()).rstrip(".")
