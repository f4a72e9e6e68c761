"""Robust rules in a plan: where they apply, and whether enough updates come together there."""

from __future__ import annotations

from collections.abc import Sequence

from node.plan import CLUSTER_TIER, Cluster, Module, Plan, Robust
from orchestrator.plans.scenario import RobustSpec, Scenario


def robust_of(
    scenario: Scenario, key: str, spec: RobustSpec, rungs: Sequence[str], averaged: Sequence[str]
) -> Robust:
    """The rule with its tiers: those that it names, or the lowest that averages the module.

    rungs: the tiers of the method, from the lowest up; averaged: those that average the module.
    """
    usual = [tier for tier in rungs if tier in averaged][:1]
    tiers = tuple(usual) if spec.tiers is None else spec.tiers
    if odd := [tier for tier in tiers if tier not in averaged]:
        where = f"the module is not averaged at '{odd[0]}', only at {', '.join(averaged)}"
        why = f"{where}; correct it or limit `methods`"
        raise scenario.error(f"{key}.robust.tiers", why)
    return Robust(**spec.model_dump(exclude={"tiers"}), tiers=tiers)


def check_relays(scenario: Scenario, modules: Sequence[Module], clusters: Sequence[Cluster]) -> None:
    """Raises ScenarioError where a rule at a head would not see the updates one by one."""
    for module in modules:
        if module.robust is None or CLUSTER_TIER not in module.robust.tiers:
            continue
        if any(cluster.gossip is not None for cluster in clusters):
            why = "a consensus has nobody who sees every update; use exchange: head, or name other tiers"
            raise scenario.error("circulation", f"module '{module.name}': {why}")
        if any(cluster.hides(module) for cluster in clusters):
            why = "relays that aggregate hide the single updates; use store-and-forward or cut-through"
            raise scenario.error("circulation", f"module '{module.name}': a robust rule at the head: {why}")


def check_senders(scenario: Scenario, plan: Plan) -> None:
    """Raises ScenarioError where too few updates come together for a rule."""
    for module in plan.modules:
        for tier in module.robust.tiers if module.robust else ():
            _check_senders(scenario, plan, module, tier)


def _check_senders(scenario: Scenario, plan: Plan, module: Module, tier: str) -> None:
    assert module.robust is not None
    rule, needs = module.robust.rule, module.robust.needs
    node, fewest = min(senders(plan, module, tier).items(), key=lambda item: item[1])
    if fewest < needs:
        why = f"{rule} at '{tier}' needs {needs} updates, and '{node}' gets {fewest}"
        remedy = "name other tiers under `robust.tiers`, another rule, or add devices"
        raise scenario.error("circulation", f"module '{module.name}': {why}; {remedy}")


def senders(plan: Plan, module: Module, tier: str) -> dict[str, int]:
    """How many updates of a module come together, at each node of a tier or each cluster's head."""
    if tier == CLUSTER_TIER:
        return {cluster.head: len(cluster.members) for cluster in plan.clusters}
    through_head = {cluster.parent: len(cluster.members) - 1 for cluster in plan.clusters}
    spared = through_head if module.over_d2d else {}
    at = [n.id for n in plan.nodes if n.tier == tier]
    return {node: len(plan.children(node)) - spared.get(node, 0) for node in at}
