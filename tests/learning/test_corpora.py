"""The corpora that come with the package."""

from collections import Counter

import numpy as np
import pytest

from node.errors import DataError
from node.learning.baseline import question_only
from node.learning.captions import VOCABULARY, draw_text
from node.learning.corpus import Corpus
from node.learning.scenes import draw_scene, render
from node.learning.sources import open_corpus
from node.model.backbone import BUILTIN_FOLDER
from node.plan import SOURCES, TaskSpec
from tests.learning.plans import builtin

NAMES = [source.removeprefix("builtin:") for source in SOURCES if source.startswith("builtin:")]
ASKED = ["gqa", "art", "digits"]


@pytest.mark.parametrize("name", NAMES)
def test_a_corpus_has_the_samples_that_the_task_asks_for(name: str) -> None:
    corpus = open_corpus(builtin(name, samples_per_answer=12), 0)
    answers = SOURCES[f"builtin:{name}"].answers
    assert len(set(corpus.answers)) == answers
    assert Counter(corpus.labels_N.tolist()) == dict.fromkeys(range(answers), 12)
    assert len(corpus.kinds) == 12 * answers
    few = open_corpus(builtin(name, samples_per_answer=12, answers=2), 0)
    assert few.answers == corpus.answers[:2]
    assert set(few.labels_N.tolist()) == {0, 1}


@pytest.mark.parametrize("name", NAMES)
def test_questions_are_in_the_words_that_the_backbone_knows(name: str) -> None:
    from transformers.models.bert.tokenization_bert import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(BUILTIN_FOLDER)
    corpus = open_corpus(builtin(name, samples_per_answer=12), 0)
    for question in {corpus.example(i).text for i in range(len(corpus.labels_N))}:
        ids = tokenizer(question)["input_ids"]
        assert len(ids) <= tokenizer.model_max_length
        assert tokenizer.unk_token_id not in ids, question


def test_a_sample_is_the_same_whoever_makes_it_and_when() -> None:
    def drawn(name: str, seed: int, index: int) -> bytes:
        return open_corpus(builtin(name), seed).example(index).image.tobytes()

    corpus = open_corpus(builtin("gqa"), 5)
    for index in (7, 3):
        assert corpus.example(index).image.tobytes() == drawn("gqa", 5, index)
    assert drawn("gqa", 5, 3) != drawn("gqa", 6, 3)
    assert drawn("gqa", 5, 3) != drawn("gqa", 5, 23)


def test_digits_are_scikit_learns_each_with_its_own_label() -> None:
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    known = {
        (r * (255 / 16)).astype(np.uint8).tobytes(): int(t) for r, t in zip(images, targets, strict=True)
    }
    corpus = open_corpus(builtin("digits", samples_per_answer=1000), 0)
    assert len(corpus.labels_N) == len(targets)
    for index in range(0, len(targets), 7):
        eight_by_eight = corpus.example(index).image[::6, ::6, 0]
        assert corpus.labels_N[index] == known[eight_by_eight.tobytes()]


def test_pretraining_asks_none_of_the_tasks_questions() -> None:
    rng = np.random.default_rng(0)
    texts = [draw_text(draw_scene(rng, int(rng.integers(1, 5))), rng) for _ in range(2000)]
    assert all(t.answer in VOCABULARY for t in texts)
    corpora = [open_corpus(builtin(name, samples_per_answer=12), 0) for name in ASKED]
    asked = {c.example(i).text for c in corpora for i in range(len(c.labels_N))}
    assert not asked & {t.text for t in texts}
    for text in texts:
        if "[MASK]" not in text.text:
            assert text.answer not in {answer for corpus in corpora for answer in corpus.answers}


def test_a_scene_shows_what_is_said_of_it() -> None:
    rng = np.random.default_rng(0)
    for color, channel in (("red", 0), ("green", 1), ("blue", 2)):
        scene = draw_scene(rng, 4, color=color, shape="square", size="big")
        first = scene[0]
        assert (first.color, first.shape, first.size) == (color, "square", "big")
        for values in zip(*((t.cell, t.color, t.shape) for t in scene), strict=True):
            assert len(set(values)) == 4
        row, column = divmod(first.cell, 3)
        patch = render(scene, rng)[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16].astype(int)
        others = [c for c in range(3) if c != channel]
        assert (patch[..., channel] > patch[..., others].max(-1) + 40).mean() > 0.2


class Table:
    """A corpus without images."""

    def __init__(self, *rows: tuple[str, int]) -> None:
        self.kinds = [kind for kind, _ in rows]
        self.labels_N = np.array([label for _, label in rows])
        self.answers = ("a", "b", "c", "d")

    example = None


def test_the_baseline_is_the_majority_answer_to_a_kind_of_question() -> None:
    rows = [("color", 0), ("color", 0), ("color", 1), ("count", 2), ("count", 3), ("count", 3), ("color", 0)]
    tests = [("color", 0), ("color", 1), ("count", 3), ("size", 0)]
    corpus: Corpus = Table(*rows, *tests)  # type: ignore[assignment]
    train, test = np.arange(7), np.arange(7, 11)
    assert question_only(corpus, train, test) == 3 / 4  # the unknown kind is given the overall majority
    assert question_only(corpus, train, test[:0]) == 0
    assert question_only(corpus, train, test[1:2]) == 0


def test_guessing_from_the_question_alone_is_weak() -> None:
    """As many right answers as there are families, of all answers."""
    for name, families in (("gqa", 4 / 20), ("art", 3 / 10)):
        corpus = open_corpus(builtin(name, samples_per_answer=50), 0)
        everything = np.arange(len(corpus.labels_N))
        assert question_only(corpus, everything, everything) == pytest.approx(families)


def test_a_source_that_lacks_its_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"task 'digits': source: .*pip install 'hffm\[digits\]'"):
        open_corpus(TaskSpec(name="digits", source="builtin:digits"), 0)
