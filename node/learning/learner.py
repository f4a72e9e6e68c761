"""What a device does in a round: train the modules on its own samples, and say how well they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from node.errors import ModelError
from node.learning import local
from node.learning.baseline import question_only
from node.learning.partition import deal
from node.learning.shard import Shard
from node.learning.sources import open_corpus
from node.model.frozen import FrozenVilt
from node.model.parameters import FlatParameters
from node.model.schema import ADAPTER, Flat, head_name, module_schemas
from node.plan import Module, Plan, TaskSpec
from node.randomness import generator


@dataclass(frozen=True)
class Score:
    """Of one task, on this device's own test shard."""

    task: str
    correct: int
    total: int
    baseline: float  # accuracy of the question-only guess on the same shard


@dataclass(frozen=True)
class Trained:
    """What one round of local training leaves. Modules are flat vectors in the order of the plan's tensors."""

    modules: dict[str, Flat]  # every module; one that no sample trained keeps its value
    samples: dict[str, int]  # by module: training samples that trained it
    losses: dict[str, float]  # by task with training samples here: mean over the last epoch


@dataclass(frozen=True)
class _Task:
    name: str
    train: Shard
    test: Shard
    baseline: float


class Learner:
    """One device's data and the frozen backbone. Nothing is kept from round to round.

    Raises ModelError or DataError, each one line that names the file, the key and the remedy.
    """

    def __init__(self, plan: Plan, device_id: str) -> None:
        torch.set_num_threads(plan.training.threads)
        self._plan = plan
        self._device = plan.node(device_id).id
        self._schemas = _agreed_schemas(plan)
        place = [node.id for node in plan.devices].index(device_id)
        frozen = FrozenVilt(plan.model.backbone)
        self._frozen = frozen
        self._tasks = [_load(plan, task, place, frozen) for task in plan.tasks]
        self.train_samples: dict[str, int] = {task.name: len(task.train) for task in self._tasks}
        self.test_samples: dict[str, int] = {task.name: len(task.test) for task in self._tasks}
        every = sum(self.train_samples.values())
        self.samples: dict[str, int] = {  # by module, as Trained.samples will be
            m.name: every if m.task is None else self.train_samples[m.task] for m in self._schemas.values()
        }

    def train(self, modules: Mapping[str, Flat], round_index: int) -> Trained:
        """One round: the tasks one after the other on the same adapters, of which only the last state counts."""
        spec = self._plan.training
        adapter = self._parameters(modules, ADAPTER)
        adapter_optimizer = adapter.optimizer(spec.learning_rate, spec.weight_decay)
        result = {ADAPTER: adapter.values}
        losses: dict[str, float] = {}
        for task in self._tasks:
            head = self._parameters(modules, head_name(task.name))
            result[head_name(task.name)] = head.values
            if len(task.train) > 0:
                rng = generator(self._plan.seed, self._device, round_index, "batches", task.name)
                losses[task.name] = local.train(
                    self._frozen, task.train, adapter, head, adapter_optimizer, spec, rng
                )
        return Trained(result, dict(self.samples), losses)

    def evaluate(self, modules: Mapping[str, Flat]) -> list[Score]:
        """One score for each task that has test samples here."""
        adapter = self._parameters(modules, ADAPTER)
        scores = []
        for task in self._tasks:
            if len(task.test) > 0:
                head = self._parameters(modules, head_name(task.name))
                right = int(local.right(self._frozen, task.test, adapter, head).sum())
                scores.append(Score(task.name, right, len(task.test), task.baseline))
        return scores

    def _parameters(self, modules: Mapping[str, Flat], name: str) -> FlatParameters:
        return FlatParameters(self._schemas[name], modules[name])


def _agreed_schemas(plan: Plan) -> dict[str, Module]:
    """The modules by name, if the plan's are those that its model and tasks have on this machine."""
    ours = {module.name: module for module in module_schemas(plan.model, plan.tasks)}
    theirs = {module.name: module for module in plan.modules}
    for name in sorted(ours.keys() | theirs.keys()):
        mine, planned = ours.get(name), theirs.get(name)
        if mine is None or planned is None or mine.tensors != planned.tensors:
            raise ModelError(
                f"plan: modules: '{name}' is not as model.backbone '{plan.model.backbone}' and the tasks make it "
                "here; give every machine the same backbone and write the plan anew with `hffm plan`"
            )
    return theirs


def _load(plan: Plan, task: TaskSpec, place: int, frozen: FrozenVilt) -> _Task:
    corpus = open_corpus(task, plan.seed)
    devices = len(plan.devices)
    shards = deal(corpus.labels_N, devices, plan.partition, task.test_fraction, plan.seed, task.name)
    train, test = shards.train[place], shards.test[place]
    baseline = question_only(corpus, shards.all_train, test)
    return _Task(task.name, Shard(corpus, train, frozen), Shard(corpus, test, frozen), baseline)
