"""What a launcher is: it starts the nodes of a plan, says which have ended, and ends the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from node.plan import Plan, Role

Pack = tuple[str, ...]  # nodes that share a process
NamespaceOf = Callable[[str], str | None]  # the network namespace of a node; None: that of the host


def on_the_host(node: str) -> str | None:
    return None


class Launcher(Protocol):
    """One host's, or one fleet's, way to run nodes. Used for one plan after the other."""

    def start(self, plan: Plan, plan_file: Path, logs: Path, options: Sequence[str] = ()) -> None:
        """Starts every node, parents first, each with `logs`/<id>.log as its output. Raises LaunchError.

        `options`: of `hffm-node`, for all of them. Each keeps its journal in `state_of(logs, id)`, and goes on from
        it if there is one.
        """
        ...

    def restart(self, node: str) -> None:
        """Starts a node again that has ended. Raises LaunchError."""
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


def packs(plan: Plan) -> list[Pack]:
    """Which nodes share a process, in the order to start them: devices of the same parent first."""
    order, each = starting_order(plan), plan.nodes_per_process
    devices = [n for n in order if plan.node(n).role is Role.DEVICE]
    devices.sort(key=lambda n: plan.node(n).parent or "")
    alone = [(n,) for n in order if plan.node(n).role is not Role.DEVICE]
    return [*alone, *(tuple(devices[i : i + each]) for i in range(0, len(devices), each))]


def state_of(logs: Path, node: str) -> Path:
    """The state folder of a node of this host: beside the logs of its run."""
    return logs.resolve().parent / "state" / node


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
