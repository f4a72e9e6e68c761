"""The central check: how well each family of questions can be learned when all samples are in one place.

`python -m node.learning.central [--backbone B] [--tunings KINDS] [--samples N] [--epochs N] [TASK ...]` prints a
table.
What stays near its baseline here cannot tell methods apart in a federation either.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch

from node.learning import local
from node.learning.baseline import question_only
from node.learning.local import Part
from node.learning.partition import deal
from node.learning.shard import Shard
from node.learning.sources import open_corpus
from node.model.backbone import BUILTIN
from node.model.heads import make_head
from node.model.model import Model
from node.model.schema import initial_module, module_schemas
from node.plan import SOURCES, ModelSpec, PartitionSpec, TaskSpec, TrainingSpec
from node.randomness import generator


@dataclass(frozen=True)
class Family:
    """Accuracy on the test samples of one kind of question."""

    kind: str
    accuracy: float
    baseline: float  # of always giving the kind's most frequent answer
    total: int


def central_check(
    task: TaskSpec, model_spec: ModelSpec | None = None, epochs: int = 6, seed: int = 0
) -> list[Family]:
    """Trains what is tuned, and a head, on all training samples of a task; accuracy by kind of question."""
    torch.set_num_threads(1)
    model_spec = model_spec or ModelSpec()
    spec = TrainingSpec(epochs=epochs)
    schemas = module_schemas(model_spec, [task])
    model = Model(model_spec, [task], schemas)
    parameters = {m.name: model.parameters(m.name, initial_module(m, seed)) for m in schemas}
    model.bind(parameters)
    corpus = open_corpus(task, seed)
    shards = deal(corpus.labels_N, 1, PartitionSpec(kind="iid"), task.test_fraction, seed, task.name)
    (train,), (test,) = shards.train, shards.test
    head = make_head(task, corpus.answers)
    part = Part(task, head, Shard(corpus, train, model, task), Shard(corpus, test, model, task), 0.0)
    trained = [(p, p.optimizer(spec.learning_rate, spec.weight_decay)) for p in parameters.values()]
    local.train(model, part, trained, spec, generator(seed, "central", task.name))
    right_N = local.right(model, part)
    kinds_N = np.array([corpus.kinds[index] for index in test])
    families = []
    for kind in sorted(set(kinds_N.tolist())):
        ours = kinds_N == kind
        baseline = question_only(corpus, train, test[ours])
        families.append(Family(kind, float(right_N[ours].mean()), baseline, int(ours.sum())))
    return families


def main() -> None:
    names = [source.removeprefix("builtin:") for source in SOURCES if source.startswith("builtin:")]
    parser = argparse.ArgumentParser(
        prog="python -m node.learning.central", description=__doc__.split("\n")[0]
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"built-in tasks: {', '.join(names)} (all)")
    parser.add_argument("--backbone", default=BUILTIN, help="built-in, a folder or a hub name")
    parser.add_argument("--tunings", default="adapters", help="kinds, with commas between them")
    parser.add_argument("--experts", type=int, help="of a mixture (none)")
    parser.add_argument(
        "--samples", type=int, default=100, help="samples per answer, a fifth of them for testing"
    )
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    experts = {"count": given.experts} if given.experts else None
    kinds = [kind for kind in given.tunings.split(",") if kind]
    spec = ModelSpec.model_validate({"backbone": given.backbone, "tunings": kinds, "experts": experts})
    print(f"{'task':8} {'question':36} {'accuracy':>8} {'baseline':>8} {'samples':>8}")
    for name in given.tasks or names:
        task = TaskSpec.model_validate(
            {
                "name": name,
                "source": f"builtin:{name}",
                "samples_per_answer": given.samples,
                "test_fraction": 0.2,
            }
        )
        for f in central_check(task, spec, given.epochs, given.seed):
            print(f"{name:8} {f.kind:36} {f.accuracy:8.3f} {f.baseline:8.3f} {f.total:8d}")


if __name__ == "__main__":
    main()
