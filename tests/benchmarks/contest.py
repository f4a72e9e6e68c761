"""Contests: several contenders do the same work, one after the other and then again, so that whatever else the
machine does falls on all of them; what is said is the ratio within each turn, its median and its spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Figures = Mapping[str, float]  # what one run of one contender gives
Contender = Callable[[], Figures]


@dataclass(frozen=True)
class Outcome:
    """Of every contender, its figures in each turn."""

    turns: Mapping[str, Sequence[Figures]]

    def typical(self, name: str, figure: str) -> float:
        return median(one[figure] for one in self.turns[name])

    def ratio(self, over: str, under: str, figure: str) -> str:
        """Median of `over`'s figure divided by `under`'s in the same turn, [least ... most]."""
        found = [a[figure] / b[figure] for a, b in zip(self.turns[over], self.turns[under], strict=True)]
        return f"{median(found):.2f} [{min(found):.2f} ... {max(found):.2f}]"


def contest(contenders: Mapping[str, Contender], turns: int, say: Callable[[str], None]) -> Outcome:
    found: dict[str, list[Figures]] = {name: [] for name in contenders}
    for turn in range(turns):
        for name, run in contenders.items():
            figures = run()
            found[name].append(figures)
            said = ", ".join(f"{key} {value:.3f}" for key, value in figures.items())
            say(f"turn {turn + 1} of {turns}: {name}: {said}")
    return Outcome(found)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
