"""The boards of a scenario: which node runs where, and so where it listens."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from deploy.launch.inventory import Board
from node.plan import Node, Plan
from orchestrator.plans.scenario import Scenario

_FILES = ("key", "known_hosts")


def boards_of(scenario: Scenario, plan: Plan) -> dict[str, Board]:
    """Node -> board. Raises ScenarioError for a node without a host."""
    found = {}
    for node in plan.nodes:
        fields: dict[str, Any] = {}
        for rule in scenario.boards:
            if _matches(rule.nodes, node):
                fields |= rule.model_dump(exclude={"nodes"}, exclude_none=True)
        if "host" not in fields:
            why = f"node '{node.id}' has no host: add - {{nodes: {node.id}, host: ...}}"
            raise scenario.error("boards" if scenario.boards else "", why)
        fields |= {name: str(Path(fields[name]).expanduser()) for name in _FILES if name in fields}
        found[node.id] = Board(**fields)
    return found


def place_on_boards(plan: Plan, boards: dict[str, Board]) -> Plan:
    """The same plan, every listening node at the address of its board; ports stay."""
    nodes = [
        node
        if node.address is None
        else node.model_copy(update={"address": f"{_host(boards[node.id])}:{node.address.rsplit(':', 1)[1]}"})
        for node in plan.nodes
    ]
    return plan.replace(nodes=tuple(nodes))


def _matches(pattern: str, node: Node) -> bool:
    return node.tier == pattern or fnmatchcase(node.id, pattern)


def _host(board: Board) -> str:
    """As it stands before a port."""
    return f"[{board.reached_at}]" if ":" in board.reached_at else board.reached_at
