"""The comparison table: one row per run, every figure saying whether it is modelled, measured or published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.labels import labels
from orchestrator.summary import Published, Summary

_GAP = 2
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    head: str
    value: Callable[[Summary], float | None]
    scale: float = 1.0
    least_digits: int = 2  # after the point; more where all figures of the column are small


@dataclass(frozen=True)
class Group:
    """Columns under one heading, which says what they are and in which unit."""

    head: str
    columns: tuple[Column, ...]


LATENCY = Group(
    "latency, seconds per round",
    (
        Column("published", lambda s: _published(s).latency_s),
        Column("modelled", lambda s: s.latency_s.modelled),
        Column("transfers", lambda s: s.latency_s.measured_transfers),
        Column("measured", lambda s: s.latency_s.measured),
        Column("wall", lambda s: s.latency_s.wall),
    ),
)
ENERGY = Group(
    "energy, joules per round",
    (
        Column("published", lambda s: _published(s).energy_j),
        Column("modelled", lambda s: s.energy_j.modelled),
        Column("measured", lambda s: s.energy_j.measured),
        Column("compute", lambda s: s.energy_j.compute),
    ),
)
ACCURACY = Group(
    "accuracy, %",
    (
        Column("published", lambda s: _published(s).accuracy, 100, 1),
        Column("local", lambda s: _overall(s, "local"), 100, 1),
        Column("aggregated", lambda s: _overall(s, "aggregated"), 100, 1),
        Column("guess", lambda s: s.accuracy.baseline, 100, 1),
    ),
)
ROUNDS = Group("", (Column("rounds", lambda s: s.rounds.done, least_digits=0),))
GROUPS = (LATENCY, ENERGY, ACCURACY, ROUNDS)


def _published(summary: Summary) -> Published:
    return summary.published or Published()


def _overall(summary: Summary, when: str) -> float | None:
    series = summary.accuracy.local if when == "local" else summary.accuracy.aggregated
    return series.last_period.overall if series.last_period else None


def rows(summaries: Sequence[Summary]) -> list[Row]:
    """For `--json`. Seconds and joules per round of the devices; accuracies are shares from 0 to 1."""
    return [_row(s, label) for s, label in zip(summaries, labels(summaries), strict=True)]


def _row(s: Summary, label: str) -> Row:
    local, aggregated = s.accuracy.local, s.accuracy.aggregated
    return {
        "method": s.method,
        "label": label,
        "scenario": s.scenario,
        "channel": s.channel,
        "seed": s.seed,
        "run_id": s.run_id,
        "state": s.state,
        "links_backend": s.links_backend,
        "latency_s": {
            "modelled": s.latency_s.modelled,
            "measured": s.latency_s.measured,
            "measured_transfers": s.latency_s.measured_transfers,
            "wall": s.latency_s.wall,
            "replayed": s.latency_s.replayed,
            "install_s": s.latency_s.install_s,
            "published": _published(s).latency_s,
        },
        "energy_j": {
            "modelled": s.energy_j.modelled,
            "measured": s.energy_j.measured,
            "compute": s.energy_j.compute,
            "downlink": s.energy_j.downlink,
            "source": s.energy_j.source,
            "published": _published(s).energy_j,
        },
        "accuracy": {
            "local": _overall(s, "local"),
            "aggregated": _overall(s, "aggregated"),
            "local_last": local.last.overall if local.last else None,
            "aggregated_last": aggregated.last.overall if aggregated.last else None,
            "rounds": list(local.last_period.rounds) if local.last_period else [],
            "baseline": s.accuracy.baseline,
            "published": _published(s).accuracy,
        },
        "bytes_per_round": s.bytes.per_round_bytes,
        "rounds": s.rounds.done,
        "rounds_used": s.rounds.used,
        "period": s.rounds.period,
        "complete_period": s.rounds.complete_period,
    }


def visible(summaries: Sequence[Summary]) -> list[Group]:
    """The groups without columns that are empty in all rows."""
    kept = [
        Group(g.head, tuple(c for c in g.columns if any(c.value(s) is not None for s in summaries)))
        for g in GROUPS
    ]
    return [g for g in kept if g.columns]


def cells(column: Column, summaries: Sequence[Summary]) -> list[str]:
    """The figures of a column, with one number of digits after the point for all."""
    found = [column.value(s) for s in summaries]
    scaled = [None if v is None else v * column.scale for v in found]
    digits = _digits([v for v in scaled if v], column.least_digits)
    return ["–" if v is None else f"{v:.{digits}f}" for v in scaled]


def _digits(values: Sequence[float], least: int) -> int:
    """Enough for two figures of the smallest value, four digits at most."""
    if least == 0 or not values:
        return least
    smallest, digits = min(map(abs, values)), least
    while digits < 4 and smallest * 10**digits < 10:
        digits += 1
    return digits


def table_lines(summaries: Sequence[Summary], width: int = 100) -> list[tuple[str, str]]:
    """Lines of text with what they are: `group`, `head`, `rule` or `row`.

    Groups that do not fit into the width follow below, under the names again: nothing is left out.
    """
    names = ["method", *labels(summaries)]
    name_width = max(map(len, names))
    lines: list[tuple[str, str]] = []
    block: list[tuple[Group, list[list[str]]]] = []
    used = name_width
    for group in visible(summaries):
        columns = [[c.head, *cells(c, summaries)] for c in group.columns]
        needed = _GAP + 1 + _width(group, columns)
        if block and used + needed > width:
            lines += [*_block(names, name_width, block), ("gap", "")]
            block, used = [], name_width
        block.append((group, columns))
        used += needed
    return lines + _block(names, name_width, block)


def _width(group: Group, columns: Sequence[Sequence[str]]) -> int:
    inner = sum(max(map(len, c)) for c in columns) + _GAP * (len(columns) - 1)
    return max(inner, len(group.head))


def _block(
    names: Sequence[str], name_width: int, block: Sequence[tuple[Group, list[list[str]]]]
) -> list[tuple[str, str]]:
    """Numbers stand to the right under their heads; the heading of a group stands over its rule."""
    tops, rules = [" " * name_width], ["─" * name_width]
    texts = [[name.ljust(name_width)] for name in names]
    for group, columns in block:
        width = _width(group, columns)
        tops.append(group.head.ljust(width))
        rules.append("─" * width)
        parts = [[cell.rjust(max(map(len, column))) for cell in column] for column in columns]
        for i, text in enumerate(texts):
            text.append((" " * _GAP).join(part[i] for part in parts).rjust(width))
    gap = " " * (_GAP + 1)
    head, *body = [gap.join(text).rstrip() for text in texts]
    top = gap.join(tops).rstrip()
    lines = [("group", top)] if top else []
    return [*lines, ("head", head), ("rule", gap.join(rules)), *(("row", line) for line in body)]
