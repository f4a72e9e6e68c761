"""Scenarios for the tests, made from the shipped ones or from a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from orchestrator.plans.reading import load_scenario
from orchestrator.plans.scenario import Scenario

SHIPPED = Path(__file__).parents[2] / "deploy" / "scenarios"
TASKS = [{"name": "gqa", "source": "builtin:gqa"}]


def shipped(name: str) -> Scenario:
    return load_scenario(SHIPPED / f"{name}.yaml")


def scenario(folder: Path, **keys: Any) -> Scenario:
    """A scenario of the given keys; `methods` and `tasks` have defaults."""
    file = folder / "scenario.yaml"
    file.write_text(yaml.safe_dump({"name": "test", "methods": ["star"], "tasks": TASKS, **keys}))
    return load_scenario(file)


def table(**rates: float) -> dict[str, Any]:
    """A channel of equal links: no delay, one watt."""
    links = [
        {"from": src, "to": dst, "both": True, "rate_bps": rate, "power_w": 1.0}
        for (src, dst), rate in ((key.split("_"), rate) for key, rate in rates.items())
    ]
    return {"model": "table", "links": links}
