"""Names and shapes of the heads: `head/<task>` chooses an answer, or generates it word by word.

D pooled width, A answers, V words, w width of the decoder.
"""

from __future__ import annotations

from node.errors import DataError
from node.model.backbone import BackboneShape
from node.model.tuning_schema import INIT_STD, ascending
from node.plan import SOURCES, Module, TaskSpec, Tensor

DECODER_WIDTH = 64
LONGEST_TEXT = 16  # words that a decoder generates


def head_name(task: str) -> str:
    return f"head/{task}"


def answer_count(task: TaskSpec) -> int:
    """How many answers a task has. Raises DataError where its source does not say."""
    source = SOURCES.get(task.source)
    built_in = source.answers if source else None
    if task.answers is None:
        if built_in is None:
            why = f"needed for source '{task.source}'; say how many of the most frequent answers to keep"
            raise DataError(f"task '{task.name}': answers: {why}")
        return built_in
    if built_in is not None and task.answers > built_in:
        raise DataError(
            f"task '{task.name}': answers: {task.answers} asked for, but {task.source} has {built_in}; "
            f"ask for at most {built_in}"
        )
    return task.answers


def head_schema(shape: BackboneShape, task: TaskSpec) -> Module:
    words = task.vocabulary_size
    tensors = _choosing(shape, task) if words is None else _generating(shape, task, words)
    return Module(name=head_name(task.name), tensors=ascending(tensors), task=task.name)


def _choosing(shape: BackboneShape, task: TaskSpec) -> list[Tensor]:
    answers = answer_count(task)
    return [
        Tensor(name="bias", shape=(answers,)),
        Tensor(name="weight", shape=(answers, shape.pooled), init_std=INIT_STD),
    ]


def _generating(shape: BackboneShape, task: TaskSpec, words: int) -> list[Tensor]:
    """One layer of a transformer decoder; the last row of `word` begins and ends a text."""
    wide = DECODER_WIDTH
    shapes: dict[str, tuple[int, ...]] = {"word": (words + 1, wide), "place": (LONGEST_TEXT + 1, wide)}
    for name in ("self.query", "self.key", "self.value", "self.out", "cross.query", "cross.out"):
        shapes[name] = (wide, wide)
    shapes |= {"forward.up": (2 * wide, wide), "forward.down": (wide, 2 * wide)}
    for name, width in memories(shape, task):
        shapes |= {f"memory.{name}.key": (wide, width), f"memory.{name}.value": (wide, width)}
    tensors = [Tensor(name=name, shape=dims, init_std=dims[-1] ** -0.5) for name, dims in shapes.items()]
    return [*tensors, Tensor(name="bias", shape=(words + 1,))]


def memories(shape: BackboneShape, task: TaskSpec) -> list[tuple[str, int]]:
    """What a decoder looks at, and its width: the tokens of each encoder in use, and what is pooled of them."""
    encoders = [e for e in shape.encoders if e.modality is None or e.modality in task.modalities]
    return [("pooled", shape.pooled), *((e.name or "joint", e.hidden) for e in encoders)]
