"""What a device does in a round: train the modules on its own samples, and say how well they answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from node.errors import ModelError
from node.learning import local
from node.learning.baseline import question_only
from node.learning.local import Part
from node.learning.partition import deal_task
from node.learning.shard import Shard
from node.learning.sources import open_corpus
from node.model.heads import make_head
from node.model.mixture_schema import GATE, expert_name
from node.model.model import Model
from node.model.parameters import FlatParameters
from node.model.placement import device_of, placed
from node.model.schema import Flat, module_schemas
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

    modules: dict[str, Flat]  # every module that the device holds; one that no sample trained keeps its value
    samples: dict[str, int]  # by module: training samples that trained it
    losses: dict[str, float]  # by task with training samples here: mean over the last epoch


class Learner:
    """One device's data and its model. Nothing is kept from round to round.

    Raises ModelError or DataError, each one line that names the file, the key and the remedy.
    """

    def __init__(self, plan: Plan, device_id: str) -> None:
        torch.set_num_threads(plan.training.threads)
        self._place = device_of(plan.training.device)
        self._plan = plan
        self._device = plan.node(device_id).id
        schemas = _agreed_schemas(plan)
        self._schemas = {name: m for name, m in schemas.items() if plan.holds(device_id, name)}
        tasks = [task for task in plan.tasks if plan.executes(device_id, task.name)]
        self._model = Model(plan.model, plan.tasks, list(self._schemas.values()), self._place)
        self._parts = [_load(plan, task, device_id, self._model) for task in tasks]
        self.train_samples: dict[str, int] = {part.task.name: len(part.train) for part in self._parts}
        self.test_samples: dict[str, int] = {part.task.name: len(part.test) for part in self._parts}
        # By module, the most that Trained.samples will have: which experts are trained is seen in each round.
        self.samples: dict[str, int] = {name: self._samples(m) for name, m in self._schemas.items()}

    def train(self, modules: Mapping[str, Flat], round_index: int) -> Trained:
        """One round: the tasks one after the other on the same modules, of which only the last state counts."""
        with placed(self._place):
            return self._trained(modules, round_index)

    def evaluate(self, modules: Mapping[str, Flat]) -> list[Score]:
        """One score for each task that has test samples here."""
        with placed(self._place):
            return self._scores(modules)

    def _trained(self, modules: Mapping[str, Flat], round_index: int) -> Trained:
        spec, seed = self._plan.training, self._plan.seed
        idle = self._idle_experts(modules)
        parameters = self._bind(modules, idle)
        optimizers = {
            name: one.optimizer(spec.learning_rate, spec.weight_decay) for name, one in parameters.items()
        }
        losses: dict[str, float] = {}
        for part in self._parts:
            if len(part.train) > 0:
                rng = generator(seed, self._device, round_index, "batches", part.task.name)
                names = [n for n, m in self._schemas.items() if n not in idle and m.trained_by(part.task)]
                trained = [(parameters[name], optimizers[name]) for name in names]
                losses[part.task.name] = local.train(self._model, part, trained, spec, rng)
        samples = {name: 0 if name in idle else count for name, count in self.samples.items()}
        return Trained({name: one.values for name, one in parameters.items()}, samples, losses)

    def _scores(self, modules: Mapping[str, Flat]) -> list[Score]:
        self._bind(modules, frozenset(self._schemas))
        scores = []
        for part in self._parts:
            if len(part.test) > 0:
                right = int(local.right(self._model, part).sum())
                scores.append(Score(part.task.name, right, len(part.test), part.baseline))
        return scores

    def _samples(self, module: Module) -> int:
        return sum(len(part.train) for part in self._parts if module.trained_by(part.task))

    def _bind(self, modules: Mapping[str, Flat], idle: Collection[str]) -> dict[str, FlatParameters]:
        parameters = {
            name: self._model.parameters(name, modules[name], trained=name not in idle)
            for name in self._schemas
        }
        self._model.bind(parameters)
        return parameters

    def _idle_experts(self, modules: Mapping[str, Flat]) -> frozenset[str]:
        """The experts that only serve in this round: all but the most relevant to this device's samples."""
        mixture = self._plan.model.experts
        if mixture is None:
            return frozenset()
        if GATE not in self._schemas or not self._model.experts:  # there is nothing to share out
            return frozenset({GATE, *map(expert_name, self._model.experts)})
        self._bind(modules, frozenset(self._schemas))
        found = local.relevance(self._model, self._parts)
        order = sorted(found, key=lambda expert: (-found[expert], expert))
        return frozenset(map(expert_name, order[mixture.most_relevant :]))


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


def _load(plan: Plan, task: TaskSpec, device: str, model: Model) -> Part:
    corpus = open_corpus(task, plan.seed)
    shards = deal_task(plan, task, corpus.labels_N)
    place = [node.id for node in plan.devices].index(device)
    train, test = shards.train[place], shards.test[place]
    baseline = question_only(corpus, shards.all_train, test)
    head = make_head(task, corpus.answers)
    return Part(task, head, Shard(corpus, train, model, task), Shard(corpus, test, model, task), baseline)
