"""Nodes that end before their time are started again, so many times each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from deploy.launch.launcher import Launcher


class Restarts:
    """Looks after the nodes of a launcher. A node that was killed, or ended with an error, is started again."""

    def __init__(self, launcher: Launcher, most: int, say: Callable[[str], None] = lambda text: None) -> None:
        self._launcher = launcher
        self._most = most
        self._say = say
        self._started: Counter[str] = Counter()

    def ended(self) -> dict[str, int]:
        """Exit codes of the nodes that have ended for good. Starts the others again; raises LaunchError."""
        for_good = {}
        for node, code in self._launcher.ended().items():
            if code == 0 or self._started[node] >= self._most:
                for_good[node] = code
                continue
            self._started[node] += 1
            self._say(f"{node} ended with {_words(code)}: started again ({self._started[node]}/{self._most})")
            self._launcher.restart(node)
        return for_good


def _words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
