"""The policy that decides how modules circulate, where the plan does not fix it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from node.plan.frozen import Frozen


class Policy(Frozen):
    """What `network-aware` may spend, and what it may leave undone."""

    # Of modelled transfers, per round of the devices; one of the two.
    budget_s: Annotated[float, Field(gt=0)] | None = None
    budget_j: Annotated[float, Field(gt=0)] | None = None
    # Distance of versions to their mean, as a share of the mean's norm, below which they need not meet more often.
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    # Rounds: every period divides it.
    longest: Annotated[int, Field(ge=1, le=1024)] = 8
    modules: tuple[
        str, ...
    ] = ()  # that it decides on; in a scenario: none, for all that no rule gives periods

    @model_validator(mode="after")
    def _one_budget(self) -> Policy:
        if (self.budget_s is None) == (self.budget_j is None):
            raise ValueError("give either budget_s or budget_j")
        return self

    @property
    def budget(self) -> float:
        return self.budget_s if self.budget_s is not None else self.budget_j or 0.0

    @property
    def unit(self) -> str:
        return "s" if self.budget_s is not None else "J"
