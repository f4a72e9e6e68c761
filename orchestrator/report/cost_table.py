"""The modelled costs of all methods of a scenario, under all channel models that its topology can have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from node.plan import Plan, Relay
from orchestrator.cost.pricing import Cost, price, printed_energy, printed_latency, rules_of
from orchestrator.plans.links import channels_of
from orchestrator.plans.methods import CONSENSUS, parse_method
from orchestrator.plans.resolve import resolve
from orchestrator.plans.scenario import Scenario
from orchestrator.plans.topology import build_network

Row = dict[str, Any]


def cost_rows(scenario: Scenario) -> list[Row]:
    """One row per channel model and method, then, for each method with device-to-device links, one per further way
    in which modules may travel over them; in full precision."""
    channels = channels_of(scenario, build_network(scenario))
    plain = [_row(scenario, method, channel) for channel in channels for method in scenario.methods]
    return plain + [
        _way_row(scenario, method, way, channel)
        for channel in channels
        for method in _over_d2d(scenario)
        for way in WAYS
    ]


def _over_d2d(scenario: Scenario) -> list[str]:
    found = (parse_method(method) for method in scenario.methods)
    return [method.name for method in found if method.d2d and method.exchange is None]


@dataclass(frozen=True)
class Way:
    """How modules go from device to device."""

    label: str
    exchange: str  # what stands after the @ of a method
    links_are_shared: bool | None = None  # None: as under the channel

    def key(self, method: str) -> str:
        """Names a row of this way of a method among those of its channel."""
        return f"{method}@{self.exchange}" + (",links-shared" if self.links_are_shared else "")


WAYS = (
    Way("store-and-forward", Relay.STORE_AND_FORWARD, False),
    Way("the same, links shared", Relay.STORE_AND_FORWARD, True),
    Way("cut-through", Relay.CUT_THROUGH),
    Way("aggregate in transit", Relay.AGGREGATE),
    Way("consensus", CONSENSUS),
)


def _row(scenario: Scenario, method: str, channel: str) -> Row:
    plan = resolve(scenario, method, channel)
    row: Row = {"method": method, "channel": channel, **_figures(plan, price(plan))}
    if plan.clusters:
        row["relay"] = _relay(plan)
    if method in scenario.published:
        figures = scenario.published[method]
        row["published_latency_s"] = figures.latency_s
        row["published_energy_j"] = figures.energy_j
        row["published_accuracy"] = figures.accuracy
    return row


def _way_row(scenario: Scenario, method: str, way: Way, channel: str) -> Row:
    runs_as = f"{method}@{way.exchange}"
    plan = resolve(scenario, runs_as, channel)
    rules = rules_of(plan)
    if way.links_are_shared is not None:
        rules = replace(rules, links_are_shared=way.links_are_shared)
    found = _figures(plan, price(plan, rules=rules))
    said: Row = {"relay": way.exchange, "way": way.label, "links_are_shared": rules.links_are_shared}
    gossips = [c.gossip for c in plan.clusters if c.gossip]
    if gossips:
        said["iterations"] = max(g.iterations for g in gossips)
        said["spectral_gap"] = 1 - max(g.contraction for g in gossips)
    return {"method": way.key(method), "runs_as": runs_as, "of": method, "channel": channel, **found, **said}


def _relay(plan: Plan) -> str:
    return CONSENSUS if plan.clusters[0].gossip else plan.clusters[0].relay.value


def _figures(plan: Plan, cost: Cost) -> Row:
    return {
        "latency_s": cost.latency_s,
        "energy_j": cost.energy_j,
        "latency_parts_s": cost.parts["latency_s"],
        "energy_parts_j": cost.parts["energy_j"],
        "payload_bytes": plan.payload_bytes or 4 * sum(m.size for m in plan.modules),
    }


def ways_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headers and cells of the ways of going device to device, below the method that they are of. All rounded:
    nothing of this is in print."""
    found = [row for row in rows if "way" in row]
    channels = list(dict.fromkeys(row["channel"] for row in found))
    headers = ["device to device", *(f"{channel} {unit}" for channel in channels for unit in ("s", "J"))]
    lines: list[list[str]] = []
    for method in dict.fromkeys(row["of"] for row in found):
        lines.append([method, *[""] * (len(headers) - 1)])
        for way in WAYS:
            own = {r["channel"]: r for r in found if (r["of"], r["way"]) == (method, way.label)}
            cells = [f"{own[c][key]:.2f}" for c in channels for key in ("latency_s", "energy_j")]
            lines.append([f"  {way.label}", *cells])
    return headers, lines


def text_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headers and cells: a line per method, two columns per channel, and what was published beside them.

    Latencies are cut to two decimals and energies rounded, as Table I of arXiv 2509.03695 prints them.
    """
    rows = [row for row in rows if "way" not in row]
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
