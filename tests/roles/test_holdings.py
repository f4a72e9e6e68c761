"""Devices that lack modules: they neither send nor receive them, and pass them on for others."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from node.aggregation import Update, combine
from node.model.schema import initial_module
from node.plan import Module, Plan, Relay
from tests.federation import federation, make_plan, module, samples_of, step
from tests.roles.clusters import cluster_plan, graph

HOLDINGS = {"d0": ("adapter",), "d1": ("adapter", "lora"), "d2": ("lora",), "d3": ("lora",)}


def held_by(plan: Plan, holdings: dict[str, tuple[str, ...]]) -> Plan:
    nodes = [n.model_copy(update={"modules": holdings.get(n.id)}) for n in plan.nodes]
    return plan.replace(nodes=tuple(nodes))


def expected(plan: Plan, one: Module) -> np.ndarray[Any, Any]:
    """The flat weighted average of who holds it, after one round from the initial values."""
    start = initial_module(one, plan.seed)
    parts = [
        Update(step(d, one.name, 0, start), float(samples_of(d, one.name)), (d,))
        for d in plan.holders(one.name)
    ]
    return combine(parts).values


def same(values: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    """But for the rounding of each tier's mean."""
    np.testing.assert_allclose(values, wanted, rtol=5e-7, atol=2e-7)


def moved(running: Any) -> set[tuple[str, str, str]]:
    """(from, to, module) of all transfers."""
    return {(e["src"], e["dst"], name) for e in running.kind("transfer") for name in e["modules"]}


def modules(**periods: int) -> tuple[Module, ...]:
    return (module("adapter", 900, **periods), module("lora", 300, **periods))


def test_only_holders_send_and_receive(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = {"cloud": None, "e0": "cloud", "e1": "cloud", "d0": "e0", "d1": "e0", "d2": "e1", "d3": "e1"}
    tiers = {"cloud": "cloud", "e0": "edge", "e1": "edge"}
    holdings = {"d0": ("adapter",), "d1": ("adapter",), "d2": ("adapter", "lora"), "d3": ("lora",)}
    plan = held_by(make_plan(parents, tiers, modules(edge=1, cloud=1), rounds=2), holdings)

    async def run() -> None:
        async with federation(plan, monkeypatch) as running:
            await running.rounds(1)
            final = await running.modules()
            for one in plan.modules:
                same(final["cloud", one.name], expected(plan, one))
            await running.rounds(1)
            for src, dst, name in moved(running):
                assert plan.holds(src, name)
                assert plan.holds(dst, name)
            assert ("d2", "e1", "lora") in moved(running)
            contributors = {
                (e["module"], e["tier"]): e["contributors"]
                for e in running.kind("aggregated")
                if e["round"] == 0
            }
            assert contributors["lora", "cloud"] == ["d2", "d3"]
            assert contributors["adapter", "cloud"] == ["d0", "d1", "d2"]

    asyncio.run(run())


@pytest.mark.parametrize("relay", list(Relay))
def test_devices_pass_on_what_they_do_not_hold(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line with the head d0, which lacks `lora`; d2 and d3, at its other end, lack `adapter`."""
    every_second = modules(cluster=1, edge=2)
    plan = cluster_plan(graph("line", 4), relay, modules=every_second, rounds=2)
    plan = held_by(plan, HOLDINGS)

    async def run() -> None:
        async with federation(plan, monkeypatch) as running:
            await running.rounds(1)
            aggregated = {e["module"]: e for e in running.kind("aggregated") if e["round"] == 0}
            assert aggregated["lora"]["contributors"] == ["d1", "d2", "d3"]
            assert aggregated["adapter"]["contributors"] == ["d0", "d1"]
            back = {
                (e["src"], e["dst"], name)
                for e in running.kind("transfer")
                if e["purpose"] == "aggregate"
                for name in e["modules"]
            }
            ways = {("d0", "d1", "adapter"), ("d0", "d1", "lora"), ("d1", "d2", "lora"), ("d2", "d3", "lora")}
            assert back == ways
            final = await running.modules()
            for (node, name), values in final.items():
                if node in HOLDINGS:
                    assert name in HOLDINGS[node]
                    same(values, expected(plan, plan.modules[0] if name == "adapter" else plan.modules[1]))
            await running.rounds(1)
            assert {e["module"] for e in running.kind("aggregated") if e["tier"] == "edge"} == {
                "adapter",
                "lora",
            }

    asyncio.run(run())
