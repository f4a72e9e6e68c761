"""How modules circulated, round by round: as planned, or as was decided on the way."""

from __future__ import annotations

from collections import defaultdict

from node.plan import Plan
from orchestrator.cost.pricing import Cost, price
from orchestrator.policy import under
from orchestrator.record.events import Events


class Course:
    """The plan of each round."""

    def __init__(self, plan: Plan, events: Events) -> None:
        last = {e.round: e.periods for e in events.decided}  # a root in a new life may have been told again
        self._from = [(0, plan), *((r, under(plan, periods)) for r, periods in sorted(last.items()))]

    def at(self, round_index: int | None) -> Plan:
        return next((p for r, p in reversed(self._from) if r <= (round_index or 0)), self._from[0][1])

    def periods(self, module: str, round_index: int) -> dict[str, int]:
        """Of a module in a round; empty for one that is not in the plan."""
        found = self.at(round_index).module(module)
        return found.periods if found is not None else {}

    def parts(self, rounds: range) -> list[tuple[Plan, range]]:
        """Rounds that follow each other under one plan."""
        ends = [r for r, _ in self._from[1:]] + [max(rounds.stop, self._from[-1][0])]
        found = [
            (plan, range(max(r, rounds.start), min(end, rounds.stop)))
            for (r, plan), end in zip(self._from, ends, strict=True)
        ]
        return [(plan, part) for plan, part in found if part]

    def price(self, rounds: range) -> Cost:
        """The mean over these rounds."""
        parts: dict[str, dict[str, float]] = {"latency_s": defaultdict(float), "energy_j": defaultdict(float)}
        for plan, part in self.parts(rounds):
            cost = price(plan)
            for what, found in parts.items():
                for name, amount in cost.parts[what].items():
                    found[name] += amount * len(part) / len(rounds)
        totals = {what: sum(found.values()) for what, found in parts.items()}
        return Cost(**totals, parts={what: dict(found) for what, found in parts.items()})
