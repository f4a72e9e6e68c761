"""Ways to start the nodes of a plan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from deploy.launch.launcher import Launcher
from deploy.launch.namespaces import NamespaceLauncher
from deploy.launch.processes import ForkedLauncher, ProcessLauncher

__all__ = ["LAUNCHERS", "NAMESPACED", "ForkedLauncher", "Launcher", "NamespaceLauncher", "ProcessLauncher"]

# By the name that `--launcher` takes.
LAUNCHERS: dict[str, Callable[[], Launcher]] = {
    "forked": ForkedLauncher,
    "processes": ProcessLauncher,
    "namespaces": partial(NamespaceLauncher, ForkedLauncher),
    "namespaces-processes": partial(NamespaceLauncher, ProcessLauncher),
}
# Those that give every node a network stack of its own, and so links that the kernel can shape.
NAMESPACED = frozenset({"namespaces", "namespaces-processes"})
