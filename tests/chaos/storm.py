"""Random kills, drawn from a seed, and what must hold whatever was killed when."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from node.errors import PeerError
from node.log import NodeLog
from node.payload import decode
from node.plan import Cluster, Limits, Link, LinkKind, Plan, Precision, Relay
from node.roles.journal import Journal
from tests.federation import make_plan, module, samples_of
from tests.household import Household, household

# Three tiers of aggregators. Below e0 a line of devices with its head in the middle; below the others, uplinks.
PARENTS = {
    "cloud": None,
    "r0": "cloud",
    "e0": "r0",
    "e1": "r0",
    "e2": "cloud",
    **dict.fromkeys(("d0", "d1", "d2"), "e0"),
    **dict.fromkeys(("d3", "d4"), "e1"),
    "d5": "e2",
}
TIERS = {"cloud": "cloud", "r0": "region", "e0": "edge", "e1": "edge", "e2": "edge"}
LINE = Cluster(parent="e0", head="d1", edges=(("d0", "d1"), ("d1", "d2")), relay=Relay.AGGREGATE)
LINKS = tuple(
    Link(src=a, dst=b, kind=LinkKind.D2D, rate_bps=40e6) for edge in LINE.edges for a, b in (edge, edge[::-1])
)
PATIENT = Limits(
    heartbeat_s=1.0,
    lease_s=8.0,
    connect_s=20.0,
    join_s=30.0,
    round_s=15.0,
    stall_s=8.0,
    on_failed_round="repeat",
)
QUANTISED = {"precision": Precision.INT8, "relay": Relay.CUT_THROUGH}
PERSONAL = {"precision": Precision.BF16, "relay": Relay.STORE_AND_FORWARD, "mix": 0.5}
_TRIGGERS = ("phase", "metric", "transfer", "aggregated", "round", "installed")


def storm_plan() -> Plan:
    periods = {"cluster": 1, "edge": 1, "region": 2, "cloud": 2}
    modules = (
        module("adapter", 20_000, **periods),
        module("head/t", 300, task="t", **periods),
        module("own", 100),
        module("lora", 600, **periods).model_copy(update=QUANTISED),
        module("prompt", 200, **periods).model_copy(update=PERSONAL),
    )
    return make_plan(PARENTS, TIERS, modules, LINKS, (LINE,), limits=PATIENT)


@dataclass
class Storm:
    """What happened in one run."""

    rounds: int
    kills: Counter[str] = field(default_factory=Counter)  # by tier
    events: list[dict[str, Any]] = field(default_factory=list)
    modules: dict[tuple[str, str], bytes] = field(default_factory=dict)


async def undisturbed(plan: Plan, folder: Path, rounds: int) -> Storm:
    return await _run(plan, folder, rounds, 0, random.Random(0))


async def disturbed(
    plan: Plan, folder: Path, rounds: int, kills: int, seed: int, among: Collection[str] = ()
) -> Storm:
    """Kills so many nodes, each at some event of the run, and starts each again after a moment."""
    return await _run(plan, folder, rounds, kills, random.Random(seed), among)


async def _run(
    plan: Plan, folder: Path, rounds: int, kills: int, rng: random.Random, among: Collection[str] = ()
) -> Storm:
    storm = Storm(rounds)
    async with household(plan, folder) as home:
        await home.until_state("ready")
        await home.operator.start_rounds(rounds)
        killing = asyncio.create_task(_kill(home, storm, kills, rng, among or plan.by_id))
        tending = asyncio.create_task(_tend(home))
        try:
            await home.until_state("ready", rounds_done=rounds, timeout_s=240)
            killing.cancel()
            await asyncio.wait([killing])
            storm.modules = await _collected(home)
            await home.operator.stop("the storm is over")
            async with asyncio.timeout(30):
                while len(home.ended()) < len(plan.nodes):  # noqa: ASYNC110 - asked of another process
                    await asyncio.sleep(0.05)
            assert set(home.ended().values()) == {0}, home.ended()
        finally:
            for task in (killing, tending):
                task.cancel()
            await asyncio.wait([killing, tending])
            if not killing.cancelled():
                killing.result()
        storm.events = home.events
    return storm


async def _collected(home: Household) -> dict[tuple[str, str], bytes]:
    """From a root that may just have died."""
    while True:
        try:
            return await home.modules()
        except PeerError:
            await home.until_state("ready", rounds_done=1)


async def _kill(
    home: Household, storm: Storm, kills: int, rng: random.Random, among: Collection[str]
) -> None:
    tiers = sorted({home.plan.node(n).tier for n in among})
    for _ in range(kills):
        kind, moment_s, pause_s = rng.choice(_TRIGGERS), rng.uniform(0, 0.05), rng.choice([0, 0, 0.2, 0.5])
        tier = rng.choice(tiers)
        victim = rng.choice(sorted(n for n in among if home.plan.node(n).tier == tier))
        await _next_event(home, kind)
        await asyncio.sleep(moment_s)
        if home.kill(victim):
            storm.kills[tier] += 1
            await asyncio.sleep(pause_s)
            home.start(victim)


async def _next_event(home: Household, kind: str) -> None:
    seen = len(home.events)
    while not any(e["kind"] == kind for e in home.events[seen:]):
        home.changed.clear()
        await home.changed.wait()


async def _tend(home: Household) -> None:
    """Starts again whoever ended with an error of its own: what a service manager does."""
    while True:
        await asyncio.sleep(0.1)
        for name, code in home.ended().items():
            if code > 0:
                home.start(name)


# -- what must hold ---------------------------------------------------------------------------------------


def check(plan: Plan, folder: Path, storm: Storm, calm: Storm) -> None:
    """Raises AssertionError."""
    check_contributors(plan, storm)
    check_journals(plan, folder, storm)
    if not any(e["kind"] == "regrouped" and "is lost" in e["reason"] for e in storm.events):
        assert storm.modules == calm.modules, "other modules than undisturbed"
        return
    # Devices that were away for long took their uplinks: the same sum, rounded at other places.
    for (holder, name), file in storm.modules.items():
        schema = plan.module(name)
        assert schema is not None
        values, expected = decode(schema, file), decode(schema, calm.modules[holder, name])
        rounding = (
            1e-6 if schema.precision is Precision.FP32 else 2.0**-6
        )  # other heads left out other things
        np.testing.assert_allclose(values, expected, rtol=0, atol=rounding)


def check_contributors(plan: Plan, storm: Storm) -> None:
    """At every tier, each round has each device that trained the module exactly once."""
    closed = {e["round"] for e in storm.events if e["kind"] == "round" and e["node"] == plan.root.id}
    assert closed == {r for r in range(storm.rounds) if (r + 1) % 2 == 0}
    for e in storm.events:
        if e["kind"] != "aggregated":
            continue
        below = LINE.members if e["tier"] == "cluster" else plan.subtree(e["node"])
        devices = sorted(d.id for d in plan.devices if d.id in below and samples_of(d.id, e["module"]))
        assert e["contributors"] == devices, e
        assert e["weight"] == sum(samples_of(d, e["module"]) for d in devices), e


def check_journals(plan: Plan, folder: Path, storm: Storm) -> None:
    """The last record of each aggregator is whole, and that of the root names the modules handed out."""
    for one in plan.nodes:
        journal = Journal(folder / "state" / one.id, plan, one.id, NodeLog(one.id))
        found = journal.read()
        journal.close()
        files = list((folder / "state" / one.id / "modules").iterdir())
        # Of two records: held and sent; and of what never travels, three kinds in three rounds.
        most = sum(4 if m.precision is Precision.FP32 else 4 + 3 * 3 for m in plan.modules)
        assert len(files) <= most, f"{one.id} keeps what is old"
        if one.tier == "device":
            continue
        assert found is not None
        assert found[1].finished == storm.rounds - 1
        if one.id == plan.root.id:
            for name, held in found[0].items():
                assert held.payload.to_bytes() == storm.modules[one.id, name]
