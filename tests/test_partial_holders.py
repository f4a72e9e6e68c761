"""Whatever the tree and who holds what: averaging up the tree is the flat average of those who trained a module."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from node.aggregation import Update, combine
from node.plan import (
    Limits,
    ModelSpec,
    Module,
    Node,
    PartitionSpec,
    Plan,
    Role,
    TaskSpec,
    Tensor,
    TrainingSpec,
)

MODULES = tuple(
    Module(name=name, tensors=(Tensor(name="t", shape=(size,)),))
    for name, size in (("adapter", 7), ("expert/0", 3), ("head/a", 1))
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any tree: each node is below one that came before it; those with nothing below are devices."""
    count = draw(st.integers(2, 14))
    parents = [None, *(draw(st.integers(0, i - 1)) for i in range(1, count))]
    above = {p for p in parents if p is not None}
    names = [m.name for m in MODULES]
    nodes = []
    for i, parent in enumerate(parents):
        role = Role.CLOUD if parent is None else Role.EDGE if i in above else Role.DEVICE
        held = draw(st.none() | st.sets(st.sampled_from(names))) if role is Role.DEVICE else None
        nodes.append(
            Node(
                id=f"n{i:02}",
                role=role,
                tier="device" if role is Role.DEVICE else f"tier-{i}",
                parent=None if parent is None else f"n{parent:02}",
                modules=None if held is None else tuple(sorted(held)),
            )
        )
    return Plan(
        **dict.fromkeys(("run_id", "scenario", "method", "channel"), "test"),
        seed=0,
        rounds=1,
        nodes=tuple(nodes),
        links=(),
        modules=MODULES,
        model=ModelSpec(),
        tasks=(TaskSpec(name="a", source="builtin:gqa"),),
        partition=PartitionSpec(),
        training=TrainingSpec(),
        limits=Limits(),
    )


def up(plan: Plan, node: str, module: str, trained: Mapping[str, Update]) -> Update | None:
    """What a node reports: its own training, or its children's reports combined, each tier in each round."""
    if node in trained:
        return trained[node]
    reports = [r for child in plan.children(node) if (r := up(plan, child, module, trained)) is not None]
    assert not reports or plan.holds(node, module)  # whoever is above a holder has it
    return combine(reports) if reports else None


@given(plans(), st.integers(0, 2**32))
def test_averaging_up_the_tree_is_averaging_who_trained(plan: Plan, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for module in MODULES:
        trained = {
            device: Update(rng.normal(0, 1, module.size).astype(np.float32), float(samples), (device,))
            for device in plan.holders(module.name)
            if (samples := rng.integers(0, 50)) > 0
        }
        root = up(plan, plan.root.id, module.name, trained)
        if not trained:
            assert root is None
            continue
        assert root is not None
        flat = combine(list(trained.values()))
        assert (root.weight, root.contributors) == (flat.weight, flat.contributors)
        depth = len(plan.nodes)  # each tier rounds its mean to float32 once
        np.testing.assert_allclose(root.values, flat.values, rtol=6e-8 * depth, atol=2e-8 * depth)
        exact = sum(u.weight * u.values.astype(np.float64) for u in trained.values()) / flat.weight
        np.testing.assert_allclose(flat.values, exact, rtol=2e-7, atol=2e-9)


@given(plans())
def test_who_holds_what_is_who_is_above_a_holder(plan: Plan) -> None:
    for module in MODULES:
        holders = set(plan.holders(module.name))
        for node in plan.nodes:
            below = {n for n in plan.subtree(node.id) if plan.by_id[n].role is Role.DEVICE}
            assert plan.holds(node.id, module.name) == bool(below & holders)
