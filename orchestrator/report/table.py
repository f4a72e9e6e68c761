"""The comparison table: one line per method, every figure saying whether it is modelled, measured or published.
Where a method ran with several seeds, a figure is their mean and standard deviation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from orchestrator.record.summary import Published, Summary
from orchestrator.report import groups
from orchestrator.report.labels import labels
from orchestrator.report.window import mean_scores, window

_GAP = 2
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    head: str
    keys: tuple[str, ...]  # where a row has it
    scale: float = 1.0
    least_digits: int = 2  # after the point; more where all figures of the column are small

    def value(self, row: Row) -> float | None:
        found: Any = row
        for key in self.keys:
            found = found[key]
        return None if found is None else float(found) * self.scale


@dataclass(frozen=True)
class Group:
    """Columns under one heading, which says what they are and in which unit."""

    head: str
    columns: tuple[Column, ...]


GROUPS = (
    Group(
        "latency, seconds per round",
        (
            Column("published", ("latency_s", "published")),
            Column("modelled", ("latency_s", "modelled")),
            Column("transfers", ("latency_s", "measured_transfers")),
            Column("measured", ("latency_s", "measured")),
            Column("wall", ("latency_s", "wall")),
        ),
    ),
    Group(
        "energy, joules per round",
        (
            Column("published", ("energy_j", "published")),
            Column("modelled", ("energy_j", "modelled")),
            Column("measured", ("energy_j", "measured")),
            Column("compute", ("energy_j", "compute")),
        ),
    ),
    Group(
        "accuracy, %",
        (
            Column("published", ("accuracy", "published"), 100),
            Column("local", ("accuracy", "local"), 100, 1),
            Column("aggregated", ("accuracy", "aggregated"), 100, 1),
            Column("guess", ("accuracy", "baseline"), 100, 1),
        ),
    ),
    Group("", (Column("rounds", ("rounds",), least_digits=0),)),
)


@dataclass(frozen=True)
class Line:
    """Runs of one method that differ in the seed."""

    label: str
    method: str
    rows: tuple[Row, ...]

    def values(self, column: Column) -> list[float]:
        """Of the runs that know it."""
        return [v for row in self.rows if (v := column.value(row)) is not None]


def table_rows(summaries: Sequence[Summary]) -> list[Line]:
    over = window(summaries)
    return [
        Line(g.title, g.method, tuple(_row(s, g.label, over) for s in g.members))
        for g in groups.group(summaries)
    ]


def spreads(summaries: Sequence[Summary]) -> list[Row]:
    """For `--json`, the lines of the table: per figure, what it was over the seeds."""
    return [
        {
            "method": line.method,
            "label": line.label,
            "seeds": [row["seed"] for row in line.rows],
            **{
                ".".join(c.keys): _spread(found)
                for g in GROUPS
                for c in g.columns
                if (found := [v / c.scale for v in line.values(c)])
            },
        }
        for line in table_rows(summaries)
    ]


def _spread(found: Sequence[float]) -> dict[str, float]:
    deviation = {"standard_deviation": stdev(found)} if len(found) > 1 else {}
    return {"mean": fmean(found), **deviation, "least": min(found), "most": max(found)}


def rows(summaries: Sequence[Summary]) -> list[Row]:
    """For `--json`, one per run. Seconds and joules per round of the devices; accuracies are shares from 0 to 1."""
    over = window(summaries)
    return [_row(s, label, over) for s, label in zip(summaries, labels(summaries), strict=True)]


def _row(s: Summary, label: str, over: int) -> Row:
    published = s.published or Published()
    return {
        "method": s.method,
        "label": label,
        "scenario": s.scenario,
        "channel": s.channel,
        "seed": s.seed,
        "run_id": s.run_id,
        "state": s.state,
        "links_backend": s.links_backend,
        "security": s.security,
        "latency_s": {
            **s.latency_s.model_dump(exclude={"modelled_parts", "measured_parts"}),
            "published": published.latency_s,
        },
        "energy_j": {
            **s.energy_j.model_dump(include={"modelled", "measured", "compute", "downlink", "source"}),
            "published": published.energy_j,
        },
        "accuracy": {**_accuracy(s, over), "published": published.accuracy},
        "bytes_per_round": s.bytes.per_round_bytes,
        "rounds": s.rounds.done,
        "rounds_used": s.rounds.used,
        "period": s.rounds.period,
        "complete_period": s.rounds.complete_period,
    }


def _accuracy(s: Summary, over: int) -> Row:
    """`local` and `aggregated` are means over the last complete rounds, as many for every row."""
    local, aggregated = s.accuracy.local, s.accuracy.aggregated
    local_mean, aggregated_mean = mean_scores(local, over), mean_scores(aggregated, over)
    return {
        "local": local_mean.overall if local_mean else None,
        "aggregated": aggregated_mean.overall if aggregated_mean else None,
        "local_last": local.last.overall if local.last else None,
        "aggregated_last": aggregated.last.overall if aggregated.last else None,
        "rounds": list(local_mean.rounds) if local_mean else [],
        "baseline": s.accuracy.baseline,
    }


def visible(found: Sequence[Line]) -> list[Group]:
    """The groups without columns that are empty in all lines."""
    kept = [
        Group(g.head, tuple(c for c in g.columns if any(line.values(c) for line in found))) for g in GROUPS
    ]
    return [g for g in kept if g.columns]


def cells(column: Column, found: Sequence[Line]) -> list[str]:
    """The figures of a column, with one number of digits after the point for all."""
    known = [line.values(column) for line in found]
    digits = _digits([v for values in known for v in values if v], column.least_digits)
    return [_cell(values, digits) for values in known]


def _cell(values: Sequence[float], digits: int) -> str:
    if not values:
        return "–"
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 and digits else ""  # rounds have none
    return f"{fmean(values):.{digits}f}{spread}"


def _digits(values: Sequence[float], least: int) -> int:
    """Enough for two figures of the smallest value, four digits at most."""
    if least == 0 or not values:
        return least
    smallest, digits = min(map(abs, values)), least
    while digits < 4 and smallest * 10**digits < 10:
        digits += 1
    return digits


def table_lines(found: Sequence[Line], width: int) -> list[tuple[str, str]]:
    """Lines of text with what they are: `group`, `head`, `rule`, `row` or `gap`.

    Groups that do not fit into the width follow below, under the names again: nothing is left out.
    """
    names = ["method", *(line.label for line in found)]
    name_width = max(map(len, names))
    lines: list[tuple[str, str]] = []
    block: list[tuple[Group, list[list[str]]]] = []
    used = name_width
    for group in visible(found):
        columns = [[c.head, *cells(c, found)] for c in group.columns]
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
