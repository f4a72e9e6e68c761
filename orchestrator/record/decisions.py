"""What was decided about circulation in a run, and why, from the events that the root logged."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.plan import Plan
from orchestrator.record.events import Amount, Decided
from orchestrator.record.modules import rung
from orchestrator.record.runs import Run


class Made(BaseModel):
    """One decision: see orchestrator.policy.Decision, and what it was made from."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    round: int = 0  # from this one on
    periods: dict[str, dict[str, int]] = {}
    latency_s: Amount | None = None
    energy_j: Amount | None = None
    feasible: bool = True
    reasons: dict[str, str] = {}
    stopped: str = ""
    drift_per_round: dict[str, Amount] = Field(default_factory=dict)  # "module at tier" -> share of the norm
    measured_bps: dict[str, Amount] = Field(default_factory=dict)  # "src > dst"


def decisions(run: Run) -> list[Made]:
    """In the order of their rounds; a root in a new life may have been told one twice."""
    last = {e.round: e for e in run.events.decided}
    return [_made(run.plan, e) for _, e in sorted(last.items())]


def _made(plan: Plan, event: Decided) -> Made:
    said: Any = {}
    try:
        said = json.loads(event.reason or "{}")
        found = Made.model_validate(said)
    except (ValueError, ValidationError):  # the periods were in force, whatever was said about them
        found = Made()
    periods = {
        name: dict(sorted(every.items(), key=lambda item: rung(plan, item[0])))
        for name, every in event.periods.items()
    }
    return found.model_copy(update={"round": event.round, "periods": periods})
