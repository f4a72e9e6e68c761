"""A fifth of the devices send poisoned updates: the mean fails, and robust rules hold, wherever they collect."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from node.learning.learner import Trained
from node.model.schema import initial_module
from node.payload import Values
from node.plan import Cluster, Plan, Relay, Robust, RobustRule
from tests.federation import ArithmeticLearner, federation, make_plan, module
from tests.roles.test_rounds import average

LIARS = ("d3", "d7")
DEVICES = [f"d{i}" for i in range(10)]
STAR = {"cloud": None, **dict.fromkeys(DEVICES, "cloud")}
BELOW_EDGE = {"cloud": None, "e0": "cloud", **dict.fromkeys(DEVICES, "e0")}
LINE = tuple(itertools.pairwise(DEVICES))
ROUNDS = 3


class Poisoning(ArithmeticLearner):
    """Honest, but for a fifth of the devices: what they have learned, ten times and the wrong way round."""

    def train(self, modules: Mapping[str, Values], round_index: int) -> Trained:
        trained = super().train(modules, round_index)
        if self._device not in LIARS:
            return trained
        lies = {name: np.float32(-10) * values for name, values in trained.modules.items()}
        return Trained(lies, trained.samples, trained.losses)


def robust(rule: str, tier: str) -> Robust | None:
    return None if rule == "mean" else Robust(rule=RobustRule(rule), tiers=(tier,), liars=2)


def star(rule: str) -> Plan:
    adapter = module("adapter", 500, cloud=1).model_copy(update={"robust": robust(rule, "cloud")})
    return make_plan(STAR, {"cloud": "cloud"}, (adapter,))


def relayed(rule: str, relay: Relay) -> Plan:
    adapter = module("adapter", 500, cluster=1, edge=1, cloud=1)
    adapter = adapter.model_copy(update={"robust": robust(rule, "cluster")})
    cluster = Cluster(parent="e0", head="d4", edges=LINE, relay=relay)
    return make_plan(BELOW_EDGE, {"cloud": "cloud", "e0": "edge"}, (adapter,), clusters=(cluster,))


def error(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> float:
    """Root mean square of the difference to what the honest devices alone would have come to."""

    async def final() -> Values:
        async with federation(plan, monkeypatch, learner=Poisoning) as running:
            await running.rounds(ROUNDS)
            return (await running.modules())["cloud", "adapter"]

    truth = {m.name: initial_module(m, plan.seed) for m in plan.modules}
    for r in range(ROUNDS):
        truth = average(truth, [d for d in DEVICES if d not in LIARS], r)
    return float(np.sqrt(np.mean(np.square(asyncio.run(final()) - truth["adapter"], dtype=np.float64))))


def test_the_mean_fails(monkeypatch):
    assert error(star("mean"), monkeypatch) > 0.1


@pytest.mark.parametrize("rule", list(RobustRule))
def test_a_robust_rule_at_the_root_holds(rule, monkeypatch):
    assert error(star(rule), monkeypatch) < 0.045


@pytest.mark.parametrize("relay", [Relay.STORE_AND_FORWARD, Relay.CUT_THROUGH])
@pytest.mark.parametrize("rule", [RobustRule.MEDIAN, RobustRule.NORM_CLIP, RobustRule.MULTI_KRUM])
def test_a_robust_rule_at_the_head_holds(rule, relay, monkeypatch):
    assert error(relayed(rule, relay), monkeypatch) < 0.045


def test_relays_that_add_up_and_a_robust_rule_at_the_head_do_not_go_together():
    with pytest.raises(ValueError, match="does not see single updates"):
        relayed("median", Relay.AGGREGATE)


def test_the_log_names_the_rule_and_who_is_in_the_result(monkeypatch):
    async def told() -> list[dict]:
        async with federation(star("multi-krum"), monkeypatch, learner=Poisoning) as running:
            await running.rounds(1)
            return running.kind("aggregated")

    event = asyncio.run(told())[0]
    assert event["rule"] == "multi-krum"
    assert event["contributors"] == [d for d in DEVICES if d not in LIARS]
