"""The circulation of each module: what the method says, and in its place what the scenario's rules say."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from node.errors import ConfigError, ModelError
from node.model.schema import module_schemas
from node.plan import CLUSTER_TIER, Module, Precision, Relay
from orchestrator.plans.methods import CONSENSUS, Method, ladder, periods
from orchestrator.plans.robust import robust_of
from orchestrator.plans.scenario import CirculationRule, Scenario
from orchestrator.plans.topology import Network

_SHARES = {"replace": 1.0, "keep": 0.0}


def circulating(scenario: Scenario, method: Method, network: Network) -> tuple[Module, ...]:
    """The modules of the model, each with its circulation. Raises ScenarioError."""
    try:
        schemas = module_schemas(scenario.model, scenario.tasks)
    except ConfigError as error:
        raise scenario.error("model" if isinstance(error, ModelError) else "tasks", str(error)) from error
    found = [m.model_copy(update=_circulation(scenario, m, method, network)) for m in schemas]
    for i, rule in enumerate(scenario.circulation):
        if not any(fnmatchcase(m.name, rule.modules) for m in schemas):
            names = ", ".join(m.name for m in schemas)
            raise scenario.error(
                f"circulation[{i}].modules", f"no module matches '{rule.modules}'; there are {names}"
            )
    return tuple(found)


def _circulation(scenario: Scenario, module: Module, method: Method, network: Network) -> dict[str, Any]:
    """Fields of a module."""
    said, where = _said(scenario, module, method)
    found: dict[str, Any] = {"periods": periods(method, network.tiers)}
    if given := said.get("periods"):
        _check_periods(scenario, where["periods"], given, method, network)
        found["periods"] = dict(given)
    if method.d2d:
        found["relay"] = said.get("relay")
    if robust := said.get("robust"):
        rungs = ladder(method, network.tiers)
        found["robust"] = robust_of(scenario, where["robust"], robust, rungs, list(found["periods"]))
    if mix := said.get("mix"):
        found["mix"] = _SHARES.get(mix, mix)
    found["precision"] = said.get("precision", Precision.FP32)
    near = method.d2d if method.adaptive else CLUSTER_TIER in found["periods"]
    if near and found["precision"] is not Precision.FP32:
        found["relay"] = _relay_of_quantised(scenario, where, method, said.get("relay"))
    return found


def _said(scenario: Scenario, module: Module, method: Method) -> tuple[dict[str, Any], dict[str, str]]:
    """What the rules say about a module, field by field, and which rule says so."""
    said: dict[str, Any] = {}
    where: dict[str, str] = {}
    for i, rule in enumerate(scenario.circulation):
        if fnmatchcase(method.name, rule.methods) and fnmatchcase(module.name, rule.modules):
            given = {field: getattr(rule, field) for field in CirculationRule.model_fields}
            said |= {field: value for field, value in given.items() if value is not None}
            where |= {field: f"circulation[{i}]" for field, value in given.items() if value is not None}
    return said, where


def _relay_of_quantised(
    scenario: Scenario, where: Mapping[str, str], method: Method, relay: Relay | None
) -> Relay | None:
    """Relays cannot add up what is quantised: they would have to wait for all of it, and to quantise it again."""
    key, d2d = f"{where['precision']}.precision", scenario.topology.d2d
    if (method.exchange or d2d.exchange) == CONSENSUS:
        why = f"'{method.name}' is a consensus, which is in fp32 only; use exchange: head, or limit `methods`"
        raise scenario.error(key, why)
    if relay is Relay.AGGREGATE:
        why = "relays that aggregate add up fp32 only; leave `relay` out for cut-through, or use fp32"
        raise scenario.error(key, why)
    usual = method.exchange or d2d.relay
    return Relay.CUT_THROUGH if relay is None and usual == Relay.AGGREGATE else relay


def _check_periods(
    scenario: Scenario, key: str, given: dict[str, int], method: Method, network: Network
) -> None:
    """A tier can only average what the tier below it has averaged: no gaps, and each period a multiple."""
    rungs = ladder(method, network.tiers)
    if unknown := [t for t in given if t not in rungs]:
        why = f"'{method.name}' has no tier '{unknown[0]}', only {', '.join(rungs)}; correct it or limit `methods`"
        raise scenario.error(f"{key}.periods", why)
    # A module may take the uplink although others go device to device: then its ladder starts above the cluster.
    start = 1 if method.d2d and rungs[0] not in given else 0
    below: str | None = None
    for tier in rungs[start : start + len(given)]:
        if tier not in given:
            raise scenario.error(f"{key}.periods", f"'{tier}' is missing below the tiers given; add it")
        if below is not None and given[tier] % given[below]:
            why = f"{given[tier]} is no multiple of the {given[below]} of '{below}' below it; make it one"
            raise scenario.error(f"{key}.periods.{tier}", why)
        below = tier
