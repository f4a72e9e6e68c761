"""The modules of a model: their names, their tensors' names and shapes, and their initial values.

The one rule for shapes: the plan is made from it, and the torch code takes its parameters as views into flat
vectors that are cut up by it. Shape suffixes below: D hidden width, R bottleneck, A answers, P module size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from node.errors import DataError
from node.model.backbone import BackboneShape, read_shape
from node.plan import ModelSpec, Module, TaskSpec, Tensor
from node.randomness import generator

Flat = NDArray[np.float32]

ADAPTER = "adapter"
PARALLEL = ("a", "b")  # the two adapters of each layer, whose outputs are added (Section IV-A of the paper)
INIT_STD = 0.02  # as ViLT initialises its own linear layers

# Answers of the built-in corpora; the corpora are tested against it.
BUILTIN_ANSWERS: Mapping[str, int] = {"builtin:gqa": 20, "builtin:art": 10, "builtin:digits": 10}


def module_schemas(model: ModelSpec, tasks: Sequence[TaskSpec]) -> tuple[Module, ...]:
    """The modules that are trained for these tasks; who averages them when is left to the caller."""
    shape = read_shape(model.backbone)
    heads = tuple(_head(shape, task) for task in tasks)
    return (_adapter(shape, model.bottleneck), *heads)


def head_name(task: str) -> str:
    return f"head/{task}"


def answer_count(task: TaskSpec) -> int:
    """How many answers a task chooses from. Raises DataError where its source does not say."""
    built_in = BUILTIN_ANSWERS.get(task.source)
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


def tensor_views(module: Module, flat_P: Flat) -> Iterator[tuple[str, Flat]]:
    """Each tensor of a module as a view into its flat vector, in ascending order of name."""
    if flat_P.shape != (module.size,):
        raise ValueError(f"module '{module.name}' has {module.size} values, not {flat_P.shape}")
    start = 0
    for tensor in module.tensors:
        yield tensor.name, flat_P[start : start + tensor.size].reshape(tensor.shape)
        start += tensor.size


def initial_module(module: Module, seed: int) -> Flat:
    """Initial values [P]: the same on every node, since each tensor has a generator named after it."""
    flat_P = np.zeros(module.size, np.float32)
    views = tensor_views(module, flat_P)
    for tensor, (_, view) in zip(module.tensors, views, strict=True):
        if tensor.init_std > 0:
            draw = generator(seed, "init", module.name, tensor.name).standard_normal(tensor.shape, np.float32)
            view[...] = draw * np.float32(tensor.init_std)
    return flat_P


def adapter_tensor(layer: int, branch: str, part: str) -> str:
    """Name of one tensor of an adapter; layers are padded so that names ascend as layers do."""
    return f"layer.{layer:02d}.{branch}.{part}"


def _adapter(shape: BackboneShape, bottleneck: int) -> Module:
    """Up-projections and biases start at zero, so that an untrained adapter leaves the backbone as it is."""
    width = shape.hidden
    parts: tuple[tuple[str, tuple[int, ...], float], ...] = (
        ("down.bias", (bottleneck,), 0.0),
        ("down.weight", (bottleneck, width), INIT_STD),
        ("up.bias", (width,), 0.0),
        ("up.weight", (width, bottleneck), 0.0),
    )
    tensors = [
        Tensor(name=adapter_tensor(layer, branch, part), shape=dims, init_std=std)
        for layer in range(shape.layers)
        for branch in PARALLEL
        for part, dims, std in parts
    ]
    return Module(name=ADAPTER, tensors=_ascending(tensors))


def _head(shape: BackboneShape, task: TaskSpec) -> Module:
    answers = answer_count(task)
    tensors = (
        Tensor(name="bias", shape=(answers,)),
        Tensor(name="weight", shape=(answers, shape.hidden), init_std=INIT_STD),
    )
    return Module(name=head_name(task.name), tensors=tensors, task=task.name)


def _ascending(tensors: list[Tensor]) -> tuple[Tensor, ...]:
    return tuple(sorted(tensors, key=lambda tensor: tensor.name))
