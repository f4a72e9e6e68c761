"""The central check: how well each family of questions can be learned when all samples are in one place.

`python -m node.learning.central [--backbone B] [--samples N] [--epochs N] [--seed N] [TASK ...]` prints a table.
What stays near its baseline here cannot tell methods apart in a federation either.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch

from node.learning import local
from node.learning.baseline import question_only
from node.learning.partition import deal
from node.learning.shard import Shard
from node.learning.sources import open_corpus
from node.model.backbone import BUILTIN
from node.model.frozen import FrozenVilt
from node.model.parameters import FlatParameters
from node.model.schema import BUILTIN_ANSWERS, initial_module, module_schemas
from node.plan import ModelSpec, PartitionSpec, TaskSpec, TrainingSpec
from node.randomness import generator


@dataclass(frozen=True)
class Family:
    """Accuracy on the test samples of one kind of question."""

    kind: str
    accuracy: float
    baseline: float  # of always giving the kind's most frequent answer
    total: int


def central_check(task: TaskSpec, backbone: str = BUILTIN, epochs: int = 6, seed: int = 0) -> list[Family]:
    """Trains adapters and head on all training samples of a task; accuracy by kind of question."""
    torch.set_num_threads(1)
    spec = TrainingSpec(epochs=epochs)
    frozen = FrozenVilt(backbone)
    schemas = module_schemas(ModelSpec(backbone=backbone), [task])
    adapter, head = (FlatParameters(schema, initial_module(schema, seed)) for schema in schemas)
    corpus = open_corpus(task, seed)
    shards = deal(corpus.labels_N, 1, PartitionSpec(kind="iid"), task.test_fraction, seed, task.name)
    (train,), (test,) = shards.train, shards.test
    optimizer = adapter.optimizer(spec.learning_rate, spec.weight_decay)
    rng = generator(seed, "central", task.name)
    local.train(frozen, Shard(corpus, train, frozen), adapter, head, optimizer, spec, rng)
    right_N = local.right(frozen, Shard(corpus, test, frozen), adapter, head)
    kinds_N = np.array([corpus.kinds[index] for index in test])
    families = []
    for kind in sorted(set(kinds_N.tolist())):
        ours = kinds_N == kind
        baseline = question_only(corpus, train, test[ours])
        families.append(Family(kind, float(right_N[ours].mean()), baseline, int(ours.sum())))
    return families


def main() -> None:
    names = [source.removeprefix("builtin:") for source in BUILTIN_ANSWERS]
    parser = argparse.ArgumentParser(
        prog="python -m node.learning.central", description=__doc__.split("\n")[0]
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"built-in tasks: {', '.join(names)} (all)")
    parser.add_argument("--backbone", default=BUILTIN, help="built-in, a folder or a hub name")
    parser.add_argument(
        "--samples", type=int, default=100, help="samples per answer, a fifth of them for testing"
    )
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
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
        for f in central_check(task, given.backbone, given.epochs, given.seed):
            print(f"{name:8} {f.kind:36} {f.accuracy:8.3f} {f.baseline:8.3f} {f.total:8d}")


if __name__ == "__main__":
    main()
