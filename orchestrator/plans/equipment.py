"""What each device collects, executes, holds and can do: drawn, and then as the rules of the scenario say.

The plan decides, once and for all nodes; the same scenario and seed give the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from node.model.heads_schema import head_name
from node.model.mixture_schema import GATE, is_expert
from node.plan import Module, Node, Plan, Role, TaskSpec
from node.randomness import generator
from orchestrator.plans.scenario import DeviceRule, Scenario

# A share of samples below which a device has none: a twentieth of its own.
LEAST_SHARE = 0.05


def equip(scenario: Scenario, plan: Plan) -> tuple[Node, ...]:
    """The nodes of a plan, with what the scenario says about devices. Raises ScenarioError."""
    _check_rules(scenario, plan)
    nodes = [_equipped(scenario, plan, n) if n.role is Role.DEVICE else n for n in plan.nodes]
    _check_executed(scenario, plan, nodes)
    return tuple(nodes)


def _equipped(scenario: Scenario, plan: Plan, node: Node) -> Node:
    rule = _rule_for(scenario.devices, node.id)
    shares = _modality_shares(scenario, node.id)
    collected = rule.get("modalities") or _collected(scenario.tasks, shares)
    able = [t for t in scenario.tasks if collected is None or set(t.modalities) <= set(collected)]
    mix = _task_shares(scenario, node.id, able, shares)
    tasks = rule.get("tasks") or (None if mix is None else _worth_while(mix))
    found = node.model_copy(
        update={
            "modalities": None if collected is None else tuple(collected),
            "tasks": tasks,
            "task_shares": mix,
            "watts": rule.get("watts", node.watts),
            "sample_s": node.sample_s / rule.get("compute", 1.0),
            "battery_j": rule.get("battery_j"),
        }
    )
    executed = [t for t in able if tasks is None or t.name in tasks]
    modules = _held(plan, executed, rule.get("storage_bytes"), node.id)
    every = len(modules) == len(plan.modules)
    return found.model_copy(update={"modules": None if every else tuple(m.name for m in modules)})


def _rule_for(rules: Sequence[DeviceRule], device: str) -> dict[str, Any]:
    """All that the rules say about a device."""
    found: dict[str, Any] = {}
    for rule in rules:
        if fnmatchcase(device, rule.nodes):
            found |= {k: v for k, v in rule.model_dump(exclude={"nodes"}).items() if v is not None}
    return found


# -- drawn ------------------------------------------------------------------------------------------------


def _modality_shares(scenario: Scenario, device: str) -> dict[str, float] | None:
    concentration = scenario.partition.modality_concentration
    if concentration is None:
        return None
    names = sorted({m for task in scenario.tasks for m in task.modalities})
    return _drawn(scenario.seed, "modalities", device, names, concentration)


def _collected(tasks: Sequence[TaskSpec], shares: Mapping[str, float] | None) -> tuple[str, ...] | None:
    """What a device has enough of, and at least what one task needs."""
    if shares is None:
        return None
    best = max(tasks, key=lambda task: _least(task, shares))
    return tuple(m for m, share in shares.items() if share >= LEAST_SHARE or m in best.modalities)


def _task_shares(
    scenario: Scenario, device: str, able: Sequence[TaskSpec], modalities: Mapping[str, float] | None
) -> dict[str, float] | None:
    """By task that a device is able to execute; the scarcest of its modalities limits a task."""
    concentration = scenario.partition.task_concentration
    if not able or (concentration is None and modalities is None):
        return None
    names = [task.name for task in able]
    mix = dict.fromkeys(names, 1.0)
    if concentration is not None:
        mix = _drawn(scenario.seed, "tasks", device, names, concentration)
    if modalities is not None:
        mix = {task.name: mix[task.name] * max(_least(task, modalities), 1e-9) for task in able}
    total = sum(mix.values())
    return {name: share / total for name, share in mix.items()}


def _least(task: TaskSpec, shares: Mapping[str, float]) -> float:
    return min(shares[m] for m in task.modalities)


def _worth_while(mix: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(name for name, share in mix.items() if share >= LEAST_SHARE)


def _drawn(seed: int, what: str, device: str, names: Sequence[str], concentration: float) -> dict[str, float]:
    shares = generator(seed, "equipment", what, device).dirichlet(np.full(len(names), concentration))
    return dict(zip(names, shares.tolist(), strict=True))


# -- what fits --------------------------------------------------------------------------------------------


def _held(plan: Plan, tasks: Sequence[TaskSpec], storage_bytes: float | None, device: str) -> list[Module]:
    """The modules that the tasks train, in the order of the plan, as far as they fit.

    Heads come first, then the others in their order. Experts come last, each device's from another one on, so that
    small devices do not all hold the same.
    """
    wanted = [m for m in plan.modules if any(m.trained_by(task) for task in tasks)]
    if storage_bytes is None:
        return wanted
    experts = [m for m in wanted if is_expert(m.name)]
    turn = [d.id for d in plan.devices].index(device) % max(1, len(experts))
    heads = [m for m in wanted if m.name in {head_name(task.name) for task in tasks}]
    others = [m for m in wanted if m not in heads and m not in experts]
    room, found = storage_bytes, set()
    for module in (*heads, *others, *experts[turn:], *experts[:turn]):
        if 4 * module.size <= room:
            room -= 4 * module.size
            found.add(module.name)
    if GATE not in found or not any(map(is_expert, found)):  # neither is of use without the other
        found -= {GATE, *(m.name for m in experts)}
    return [m for m in wanted if m.name in found and (m.task is None or head_name(m.task) in found)]


# -- what cannot be ---------------------------------------------------------------------------------------


def _check_rules(scenario: Scenario, plan: Plan) -> None:
    known = [task.name for task in scenario.tasks]
    for i, rule in enumerate(scenario.devices):
        if not any(fnmatchcase(d.id, rule.nodes) for d in plan.devices):
            some = ", ".join(d.id for d in plan.devices[:5])
            raise scenario.error(
                f"devices[{i}].nodes", f"no device matches '{rule.nodes}'; there are {some}, ..."
            )
        for name in rule.tasks or ():
            if name not in known:
                raise scenario.error(f"devices[{i}].tasks", f"no task '{name}'; there are {', '.join(known)}")


def _check_executed(scenario: Scenario, plan: Plan, nodes: Sequence[Node]) -> None:
    whole = plan.replace(nodes=tuple(nodes))
    for i, task in enumerate(scenario.tasks):
        able = [d.id for d in whole.devices if whole.executes(d.id, task.name)]
        if not able:
            why = (
                "no device executes it: its modalities, its head or its samples are nowhere; change `devices`"
            )
            raise scenario.error(f"tasks[{i}]", why)
