"""Nodes in network namespaces of this host: each has a network stack and an interface of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.launch.launcher import Launcher, NamespaceOf
from deploy.links.netns import Network
from node.plan import Plan


class NamespaceLauncher:
    """Sets a network up for each plan, and has another launcher start the nodes inside of it. Needs root.

    The plan is one that `deploy.links.addressing.place_in_block` was applied to. Nodes may do without TLS: nobody
    outside of this host can connect to them.
    """

    def __init__(self, inner: Callable[[NamespaceOf], Launcher]) -> None:
        self._network: Network | None = None
        self._inner = inner(self._namespace)

    def start(self, plan: Plan, plan_file: Path, logs: Path, options: Sequence[str] = ()) -> None:
        self._remove()
        self._network = Network.create(plan)
        self._inner.start(plan, plan_file, logs, ["--insecure", *options])

    def restart(self, node: str) -> None:
        self._inner.restart(node)

    def ended(self) -> dict[str, int]:
        return self._inner.ended()

    def stop(self, patience_s: float) -> None:
        self._inner.stop(patience_s)
        self._remove()

    def close(self) -> None:
        self._inner.close()
        self._remove()

    def _namespace(self, node: str) -> str | None:
        return None if self._network is None else self._network.namespace(node)

    def _remove(self) -> None:
        if self._network is not None:
            self._network.remove()
            self._network = None
