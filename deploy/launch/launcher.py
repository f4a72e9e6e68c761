"""What a launcher is: it starts the nodes of a plan, says which have ended, and ends the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from node.plan import Plan, Role

NamespaceOf = Callable[[str], str | None]  # the network namespace of a node; None: that of the host


def on_the_host(node: str) -> str | None:
    return None


class Launcher(Protocol):
    """One host's, or one fleet's, way to run nodes. Used for one plan after the other."""

    def start(self, plan: Plan, plan_file: Path, logs: Path) -> None:
        """Starts every node, parents first, each with `logs`/<id>.log as its output. Raises LaunchError."""
        ...

    def ended(self) -> dict[str, int]:
        """Exit codes of the nodes that have ended since `start`."""
        ...

    def stop(self, patience_s: float) -> None:
        """Ends every node that still runs: first kindly, after `patience_s` by force."""
        ...

    def close(self) -> None:
        """Gives back what the launcher itself holds."""
        ...


def starting_order(plan: Plan) -> list[str]:
    """Parents before children, so that nobody has to try twice."""
    depth = {plan.root.id: 0}
    while len(depth) < len(plan.nodes):
        depth.update({n.id: depth[n.parent] + 1 for n in plan.nodes if n.parent in depth})
    return sorted(plan.by_id, key=lambda n: (depth[n], plan.node(n).role is Role.DEVICE, n))


def last_words(log: Path) -> str:
    """The line that says why a node ended, from the end of its log."""
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or [""])[-1].removeprefix("error: ")
