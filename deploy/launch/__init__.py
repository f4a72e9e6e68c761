"""Ways to start the nodes of a plan."""

from __future__ import annotations

from collections.abc import Callable

from deploy.launch.launcher import Launcher
from deploy.launch.processes import ForkedLauncher, ProcessLauncher

__all__ = ["LAUNCHERS", "ForkedLauncher", "Launcher", "ProcessLauncher"]

# By the name that `--launcher` takes.
LAUNCHERS: dict[str, Callable[[], Launcher]] = {"forked": ForkedLauncher, "processes": ProcessLauncher}
