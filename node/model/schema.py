"""The modules of a model: their names, their tensors' names and shapes, and their initial values.

The one rule for shapes: the plan is made from it, and the torch code takes its parameters as views into flat
vectors that are cut up by it. Shape suffixes below: D hidden width, R bottleneck, A answers, P module size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from node.model.backbone import model_shape
from node.model.heads_schema import head_schema
from node.model.mixture_schema import mixture_schemas
from node.model.tuning_schema import tuning_schemas
from node.plan import ModelSpec, Module, TaskSpec
from node.randomness import generator

Flat = NDArray[np.float32]


def module_schemas(model: ModelSpec, tasks: Sequence[TaskSpec]) -> tuple[Module, ...]:
    """The modules that are trained for these tasks; who averages them when is left to the caller."""
    shape = model_shape(model, tasks)
    modules = [m for tuning in model.tunings for m in tuning_schemas(model, shape, tuning, tasks)]
    if model.experts is not None:
        modules += mixture_schemas(shape, model.experts)
    return (*modules, *(head_schema(shape, task) for task in tasks))


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
