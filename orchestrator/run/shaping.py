"""Plans of a scenario whose links are shaped, or tried, without a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from deploy.launch import NAMESPACED
from deploy.links import leftovers
from deploy.links.addressing import assignment_of, place_in_block, read_addresses
from deploy.links.capabilities import probe
from deploy.links.tc import SHAPERS, setup_lines
from node.errors import LinksError
from node.plan import Plan
from orchestrator.cost.phases import at_round
from orchestrator.plans.resolve import resolve
from orchestrator.plans.scenario import Scenario
from orchestrator.run.addresses import with_free_ports
from orchestrator.run.backends import AUTO
from orchestrator.run.running import Settings, choice_of


@dataclass(frozen=True)
class Lines:
    plan: Plan
    shaper: str
    addresses: dict[str, str]  # node -> IPv4
    nodes: dict[str, dict[str, Any]]  # node -> {"address": ..., "lines": [...]}


def lines_of(
    scenario: Scenario,
    method: str | None,
    links: str | None,
    interface: str,
    addresses: Path | None,
    round_index: int = 0,
) -> Lines:
    """What tc is told on each node, for the rates of this round; by netem unless tbf is asked for."""
    asked = links or (scenario.links if scenario.links in SHAPERS else "netem")
    if asked not in SHAPERS:
        raise LinksError(f"links {asked} run no tc: ask for --links {' or '.join(SHAPERS)}")
    plan = place_in_block(_resolved(scenario, method, asked), choose=_first)
    found = assignment_of(plan).nodes if addresses is None else read_addresses(addresses, plan)
    shaper = SHAPERS[asked]
    nodes = {
        node: {
            "address": found[node],
            "lines": setup_lines(plan, node, found, shaper, interface, round_index),
        }
        for node in plan.by_id
    }
    return Lines(plan, shaper, found, nodes)


def plan_for_namespaces(scenario: Scenario, method: str | None, links: str | None) -> Plan:
    """Links that the kernel shapes for any program: the scenario's, or the best that this machine has.

    Raises LinksError when this machine has no namespaces, or not what the links need.
    """
    own = scenario.links if scenario.links in SHAPERS else AUTO
    choice = choice_of(scenario, Settings(links=links or own, launcher="namespaces"))
    return place_in_block(_resolved(scenario, method, choice.links), leftovers.taken_blocks())


def plan_for_check(scenario: Scenario, method: str | None, links: str | None, round_index: int = 0) -> Plan:
    """With the links of this round."""
    choice = choice_of(scenario, Settings(links=links))
    plan = at_round(_resolved(scenario, method, choice.links), round_index)
    if choice.launcher in NAMESPACED:
        return place_in_block(plan, leftovers.taken_blocks())
    return with_free_ports(plan)


def clear_networks(scenario: str | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Removes what nobody uses, of one scenario or of all: what was removed, and what stays."""
    found = [n for n in leftovers.find() if scenario is None or n.about.get("scenario") == scenario]
    if found:
        probe().require("namespaces")
    removed, kept = [], []
    for network in found:
        entry = {"id": network.ident, "namespaces": len(network.namespaces), **network.about}
        if network.in_use:
            kept.append(entry)
        else:
            leftovers.remove(network.ident)
            removed.append(entry)
    leftovers.remove_trials()
    return removed, kept


def _resolved(scenario: Scenario, method: str | None, links: str) -> Plan:
    return resolve(scenario, method or scenario.methods[-1]).replace(links_backend=links)


def _first(blocks: Sequence[IPv4Network]) -> IPv4Network:
    return blocks[0]  # the same lines each time
