"""What a person sees while rounds run: a line per cluster and a bar per round, or plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from node.plan import Plan


class Progress(Protocol):
    def say(self, text: str) -> None:
        """A step of the run."""
        ...

    def event(self, event: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class Clusters:
    """How far the devices below each of their parents are, from events."""

    def __init__(self, plan: Plan, first_round: int, rounds: int) -> None:
        self.first_round, self.rounds = first_round, rounds
        self.devices = {d.id: d.parent or "" for d in plan.devices}
        self.parents = sorted(set(self.devices.values()))
        self.size = {p: sum(q == p for q in self.devices.values()) for p in self.parents}
        self._trained: dict[tuple[str, int], set[str]] = {}
        self._right: dict[tuple[str, int, str], list[int]] = {}
        self._ended: dict[str, int] = dict.fromkeys(self.parents, first_round - 1)

    def event(self, event: dict[str, Any]) -> str | None:
        """Takes an event in; the parent whose line has changed."""
        parent = self.devices.get(event["node"])
        if parent is None or event.get("round", -1) < self.first_round:
            return None
        if event["kind"] == "phase" and event["phase"] == "train":
            self._trained.setdefault((parent, event["round"]), set()).add(event["node"])
            return parent
        if event["kind"] == "metric":
            counts = self._right.setdefault((parent, event["round"], event["when"]), [0, 0])
            counts[0] += event["correct"]
            counts[1] += event["total"]
            self._ended[parent] = max(self._ended[parent], event["round"])
            return parent
        return None

    def round_of(self, parent: str) -> int:
        return max((r for p, r in self._trained if p == parent), default=self.first_round)

    def trained(self, parent: str) -> int:
        return len(self._trained.get((parent, self.round_of(parent)), ()))

    def done(self) -> float:
        """Rounds that all devices have trained, in fractions."""
        total = sum(len(who) for who in self._trained.values())
        return total / len(self.devices)

    def accuracy(self, parent: str, when: str) -> str:
        rounds = [r for p, r, w in self._right if p == parent and w == when]
        if not rounds:
            return "  -  "
        right, total = self._right[parent, max(rounds), when]
        return f"{right / total:5.1%}" if total else "  -  "


class PlainProgress:
    """Lines on standard error, one per cluster and round."""

    def __init__(self, label: str, clusters: Clusters) -> None:
        self._label, self._clusters = label, clusters
        self._started = time.monotonic()
        self._said: set[tuple[str, int]] = set()

    def say(self, text: str) -> None:
        print(
            f"[{time.monotonic() - self._started:6.1f} s] {self._label}: {text}", file=sys.stderr, flush=True
        )

    def event(self, event: dict[str, Any]) -> None:
        clusters = self._clusters
        parent = clusters.event(event)
        if parent is None or clusters.trained(parent) < clusters.size[parent]:
            return
        done = clusters.round_of(parent)
        if (parent, done) not in self._said:
            self._said.add((parent, done))
            self.say(
                f"round {done + 1 - clusters.first_round}/{clusters.rounds} {parent}: "
                f"{clusters.size[parent]} devices trained"
            )

    def close(self) -> None:
        return


class LiveProgress:
    """A display that is redrawn, for terminals."""

    def __init__(self, label: str, clusters: Clusters) -> None:
        from rich.console import Console
        from rich.live import Live

        self._label, self._clusters = label, clusters
        self._text = ""
        self._live = Live(console=Console(stderr=True), refresh_per_second=8, get_renderable=self._draw)
        self._live.start()

    def say(self, text: str) -> None:
        self._text = text

    def event(self, event: dict[str, Any]) -> None:
        self._clusters.event(event)

    def close(self) -> None:
        self._live.stop()

    def _draw(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        c = self._clusters
        grid = Table.grid(padding=(0, 2))
        rounds = min(c.rounds, int(c.done()) + 1)
        grid.add_row(
            f"[bold]{self._label}",
            ProgressBar(c.rounds, c.done(), width=30),
            f"round {rounds}/{c.rounds}",
            self._text,
        )
        for parent in c.parents:
            accuracy = f"local {c.accuracy(parent, 'local')}  aggregated {c.accuracy(parent, 'aggregated')}"
            bar = ProgressBar(c.size[parent], c.trained(parent), width=30)
            grid.add_row(f"  {parent}", bar, f"{c.trained(parent)}/{c.size[parent]} trained", accuracy)
        return grid


def progress_for(label: str, plan: Plan, first_round: int, rounds: int) -> Progress:
    clusters = Clusters(plan, first_round, rounds)
    show: Callable[[str, Clusters], Progress] = LiveProgress if sys.stderr.isatty() else PlainProgress
    return show(label, clusters)
