"""Devices whose training is left out."""

from __future__ import annotations

import numpy as np

from node.learning.learner import Learner
from node.learning.standin import StandIn
from node.plan import PartitionSpec
from tests.learning.plans import builtin, plan_of


def test_a_stand_in_has_the_samples_of_the_device_and_new_values_in_every_round() -> None:
    plan = plan_of(
        builtin("art", samples_per_answer=4),
        builtin("gqa", samples_per_answer=4),
        devices=3,
        partition=PartitionSpec(concentration=0.1),
    )
    modules = {m.name: np.zeros(m.size, np.float32) for m in plan.modules}
    for device in ("d0", "d1", "d2"):
        real, stand_in = Learner(plan, device), StandIn(plan, device)
        assert stand_in.samples == real.samples
        assert stand_in.train_samples == real.train_samples
        assert stand_in.test_samples == real.test_samples
        first, again, second = (stand_in.train(modules, r).modules for r in (0, 0, 1))
        assert first.keys() == modules.keys()
        for name, values in first.items():
            assert values.dtype == np.float32
            assert (values == again[name]).all()
            assert (values != second[name]).any()
        assert stand_in.evaluate(modules) == []
