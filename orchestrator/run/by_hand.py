"""Run folders whose nodes a person starts."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

from deploy.launch.containers import write_compose
from deploy.links.addressing import place_in_block
from node.plan import Plan
from orchestrator.plans.resolve import resolve
from orchestrator.plans.scenario import Scenario
from orchestrator.run.backends import AUTO, Choice
from orchestrator.run.running import Settings, open_record


def deploy_by_hand(scenario: Scenario, method: str | None, links: str | None, folder: Path) -> Plan:
    """A run folder with a compose file beside the plan; nothing is probed, since it may be for another machine.

    Raises RunFolderError, and LaunchError for names that Compose cannot have.
    """
    asked = links or scenario.links
    backend = "paced" if asked == AUTO else asked
    plan = resolve(scenario, method or scenario.methods[-1]).replace(links_backend=backend)
    plan = place_in_block(plan, choose=_first)
    open_record(scenario, plan, folder, Choice(backend, "containers", "as asked for"), Settings()).close()
    write_compose(plan, folder)
    return plan


def _first(blocks: Sequence[IPv4Network]) -> IPv4Network:
    return blocks[0]  # the same file each time
