"""Modules of one run that travel in different forms, and of which devices make different things."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from node.aggregation import Update, combine
from node.log import NodeLog
from node.model.schema import initial_module
from node.payload import Payload, Values, size_bytes
from node.plan import CLUSTER_TIER, Module, Plan, Precision, Relay
from node.precision import on_grid
from node.roles.feedback import sent
from node.roles.held import Held
from node.roles.journal import Journal, Kept, Progress
from node.roles.private import Private
from tests.federation import ArithmeticLearner, Federation, federation, make_plan, module, samples_of, step
from tests.roles.clusters import cluster_plan, graph

DEEP = {"cloud": None, "r0": "cloud", "e0": "r0", "e1": "r0", "d0": "e0", "d1": "e0", "d2": "e1"}
DEEP_TIERS = {"cloud": "cloud", "r0": "region", "e0": "edge", "e1": "edge"}


def modules(**periods: int) -> tuple[Module, ...]:
    """One in each form; `head/t` is not trained by all devices."""
    forms = {
        "adapter": Precision.INT8,
        "head/t": Precision.INT8,
        "lora": Precision.BF16,
        "prompt": Precision.FP32,
    }
    return tuple(
        module(name, 900, task="t" if name == "head/t" else None, **periods).model_copy(
            update={"precision": form}
        )
        for name, form in forms.items()
    )


def expected(plan: Plan, one: Module, rounds: int) -> Values:
    """What the root has when every tier averages in every round, written down directly."""
    states: dict[tuple[str, str], Private] = {}
    state = on_grid(one, initial_module(one, plan.seed))

    def quantised(node: str, tier: str, parts: list[Update], r: int) -> Update:
        found = combine(parts)
        private = states.setdefault((node, tier), Private())
        return Update(sent(private, one, tier, found.values, r), found.weight, found.contributors)

    def up(node: str, r: int) -> Update | None:
        tier = plan.node(node).tier
        if tier == "device":
            samples = samples_of(node, one.name)
            own = Update(step(node, one.name, r, state), float(samples), (node,))
            return quantised(node, tier, [own], r) if samples else None
        parts = [part for child in plan.children(node) if (part := up(child, r)) is not None]
        if any(c.parent == node for c in plan.clusters):
            parts = [quantised(node, CLUSTER_TIER, parts, r)]
        return quantised(node, tier, parts, r)

    for r in range(rounds):
        found = up(plan.root.id, r)
        state = found.values if found is not None else state
    return state


def deep_plan() -> Plan:
    return make_plan(DEEP, DEEP_TIERS, modules(edge=1, region=1, cloud=1), rounds=3)


def line_plan(relay: Relay) -> Plan:
    return cluster_plan(graph("line", 3), relay, modules=modules(cluster=1, edge=1, cloud=1), rounds=3)


@pytest.mark.parametrize(
    "plan",
    [deep_plan(), line_plan(Relay.STORE_AND_FORWARD), line_plan(Relay.CUT_THROUGH)],
    ids=["tree", "store-and-forward", "cut-through"],
)
def test_every_tier_has_the_same_bytes(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with federation(plan, monkeypatch) as running:
            await running.rounds(2)
            await running.rounds(1)
            final, digests = await running.modules(), {}
            for one in plan.modules:
                values = final[plan.root.id, one.name]
                digests[one.name] = Payload(one, values).sha256.hex()[:12]
                assert values.tobytes() == expected(plan, one, 3).tobytes(), one.name
            await _have(running, digests)
            for event in running.kind("transfer"):
                most = sum(size_bytes(one) for one in plan.modules if one.name in event["modules"])
                assert event["bytes"] <= most * len(event["origins"])

    asyncio.run(run())


async def _have(running: Federation, versions: Mapping[str, str]) -> None:
    """Heartbeats say what all nodes below the root have."""
    async with asyncio.timeout(10):
        while True:
            below = (await running.until("ready")).nodes[1:]
            if all(node.versions[name] == digest for node in below for name, digest in versions.items()):
                return
            await asyncio.sleep(0.05)


def own_and_aggregate(plan: Plan, one: Module, rounds: int) -> tuple[dict[str, Values], Values]:
    """Devices' own versions and the root's in a star, by the definition of `mix`."""
    share = np.float32(one.mix)
    aggregate = initial_module(one, plan.seed)
    own = {d.id: aggregate for d in plan.devices}
    for r in range(rounds):
        if r > 0 and one.mix > 0:
            own = {d: share * aggregate + (1 - share) * values for d, values in own.items()}
        own = {d: step(d, one.name, r, values) for d, values in own.items()}
        aggregate = combine([Update(v, float(samples_of(d, one.name)), (d,)) for d, v in own.items()]).values
    return own, aggregate


@pytest.mark.parametrize("mix", [0.0, 0.25])
def test_a_device_goes_on_with_what_the_plan_says(mix: float, monkeypatch: pytest.MonkeyPatch) -> None:
    one = module("adapter", 300, cloud=1).model_copy(update={"mix": mix})
    shared = module("lora", 300, cloud=1)
    plan = make_plan(
        {"cloud": None, "d0": "cloud", "d1": "cloud"}, {"cloud": "cloud"}, (one, shared), rounds=3
    )
    evaluated: dict[str, list[Mapping[str, Values]]] = {}

    async def run() -> None:
        async with federation(plan, monkeypatch, learner=_watched(evaluated)) as running:
            await running.rounds(3)
            final = await running.modules()
        own, aggregate = own_and_aggregate(plan, one, 3)
        assert final["cloud", one.name].tobytes() == aggregate.tobytes()
        for device, values in own.items():
            assert final[device, one.name].tobytes() == values.tobytes()
            assert (device, shared.name) not in final
            after_training, after_aggregation = evaluated[device][-2:]
            assert after_training[one.name].tobytes() == values.tobytes()
            assert after_aggregation[one.name].tobytes() == aggregate.tobytes()

    asyncio.run(run())


def _watched(evaluated: dict[str, list[Mapping[str, Values]]]) -> type:
    class Watched(ArithmeticLearner):
        def evaluate(self, modules: Mapping[str, Values]) -> Any:
            evaluated.setdefault(self._device, []).append(dict(modules))
            return super().evaluate(modules)

    return Watched


def test_what_never_travels_outlives_its_node(tmp_path: Path) -> None:
    plan = deep_plan()
    one = plan.modules[0]
    values = np.random.default_rng(0).normal(0, 1, one.size).astype(np.float32)
    private = Private()
    quantised = sent(private, one, "edge", values, 0)
    journal = Journal(tmp_path, plan, "cloud", NodeLog("cloud"))
    held = {m.name: Held(m, initial_module(m, plan.seed), -1) for m in plan.modules}
    journal.write(Kept(held | {one.name: Held(one, values, 0)}, Progress(), {}, private.kept()))
    journal.close()
    kept = Journal(tmp_path, plan, "cloud", NodeLog("cloud")).read()
    assert kept is not None
    assert kept.held[one.name].values.tobytes() == values.tobytes()  # not as it would travel
    again = Private()
    again.restore(kept.private)
    assert sent(again, one, "edge", values, 0).tobytes() == quantised.tobytes()
    assert sent(again, one, "edge", values, 1).tobytes() == sent(private, one, "edge", values, 1).tobytes()
