"""The modelled costs of all methods of a scenario, under all channel models that its topology can have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.cost import price, printed_energy, printed_latency
from orchestrator.links import channels_of
from orchestrator.resolve import resolve
from orchestrator.scenario import Scenario
from orchestrator.topology import build_network

Row = dict[str, Any]


def cost_rows(scenario: Scenario) -> list[Row]:
    """One row per channel model and method, in full precision."""
    return [
        _row(scenario, method, channel)
        for channel in channels_of(scenario, build_network(scenario))
        for method in scenario.methods
    ]


def _row(scenario: Scenario, method: str, channel: str) -> Row:
    plan = resolve(scenario, method, channel)
    cost = price(plan)
    row: Row = {
        "method": method,
        "channel": channel,
        "latency_s": cost.latency_s,
        "energy_j": cost.energy_j,
        "latency_parts_s": cost.parts["latency_s"],
        "energy_parts_j": cost.parts["energy_j"],
        "payload_bytes": plan.payload_bytes or 4 * sum(m.size for m in plan.modules),
    }
    if method in scenario.published:
        figures = scenario.published[method]
        row["published_latency_s"] = figures.latency_s
        row["published_energy_j"] = figures.energy_j
        row["published_accuracy"] = figures.accuracy
    return row


def text_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headers and cells: a line per method, two columns per channel, and what was published beside them.

    Latencies are cut to two decimals and energies rounded, as Table I of arXiv 2509.03695 prints them.
    """
    channels = list(dict.fromkeys(row["channel"] for row in rows))
    printed = any("published_latency_s" in row for row in rows)
    headers = ["method", *(f"{channel} {unit}" for channel in channels for unit in ("s", "J"))]
    lines: list[list[str]] = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {row["channel"]: row for row in rows if row["method"] == method}
        line = [method]
        for channel in channels:
            line += [printed_latency(own[channel]["latency_s"]), printed_energy(own[channel]["energy_j"])]
        if printed:
            figures = next(iter(own.values()))
            line += [_or_dash(figures.get(f"published_{key}")) for key in ("latency_s", "energy_j")]
        lines.append(line)
    return headers + (["in print s", "in print J"] if printed else []), lines


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
