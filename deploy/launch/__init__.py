"""Ways to start the nodes of a plan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from deploy.launch.containers import ContainerLauncher
from deploy.launch.launcher import Launcher
from deploy.launch.namespaces import NamespaceLauncher
from deploy.launch.probing import probe_containers
from deploy.launch.processes import ForkedLauncher, ProcessLauncher
from deploy.launch.ssh import SshLauncher
from deploy.links.capabilities import Capabilities, probe

__all__ = ["BOARDS", "LAUNCHERS", "NAMESPACED", "PACKING", "PROBES", "Launcher"]

BOARDS = "ssh"
# By the name that `--launcher` takes.
LAUNCHERS: dict[str, Callable[[], Launcher]] = {
    "forked": ForkedLauncher,
    "processes": ProcessLauncher,
    "namespaces": partial(NamespaceLauncher, ForkedLauncher),
    "namespaces-processes": partial(NamespaceLauncher, ProcessLauncher),
    "containers": ContainerLauncher,
    BOARDS: SshLauncher,
}
# Those that can put several devices into one process.
PACKING = frozenset({"forked", "processes"})
# Those that give every node a network stack of its own, and so links that the kernel can shape; what of the machine
# they need, and how to find out whether it is there.
NAMESPACED = {"namespaces": "namespaces", "namespaces-processes": "namespaces", "containers": "containers"}
PROBES: dict[str, Callable[[], Capabilities]] = {"namespaces": probe, "containers": probe_containers}
