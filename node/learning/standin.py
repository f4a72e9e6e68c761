"""In place of a learner where training is left out: as many samples, modules that change, nothing learned."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from node.learning.learner import Score, Trained
from node.learning.partition import deal_task
from node.learning.sources import open_corpus
from node.model.schema import Flat
from node.plan import Plan
from node.randomness import generator

_STEP = np.float32(1e-3)  # standard deviation of what a round adds to each value


class StandIn:
    """What a device does with `training.left_out`. Raises DataError for data that cannot be opened."""

    def __init__(self, plan: Plan, device_id: str) -> None:
        self._plan = plan
        self._device = plan.node(device_id).id
        place = [node.id for node in plan.devices].index(device_id)
        self.train_samples: dict[str, int] = {}
        self.test_samples: dict[str, int] = {}
        for task in plan.tasks:
            if plan.executes(device_id, task.name):
                shards = deal_task(plan, task, open_corpus(task, plan.seed).labels_N)
                self.train_samples[task.name] = len(shards.train[place])
                self.test_samples[task.name] = len(shards.test[place])
        # By module: training samples that would train it.
        self.samples: dict[str, int] = {
            m.name: sum(self.train_samples.get(t.name, 0) for t in plan.tasks if m.trained_by(t))
            for m in plan.modules
            if plan.holds(device_id, m.name)
        }

    def train(self, modules: Mapping[str, Flat], round_index: int) -> Trained:
        """Noise, so that every round has new versions to send."""
        changed = {
            name: values + self._noise(name, round_index, values.size) for name, values in modules.items()
        }
        return Trained(changed, dict(self.samples), {})

    def evaluate(self, modules: Mapping[str, Flat]) -> list[Score]:
        return []

    def _noise(self, module: str, round_index: int, size: int) -> Flat:
        rng = generator(self._plan.seed, self._device, round_index, "left-out", module)
        return _STEP * rng.standard_normal(size, dtype=np.float32)
