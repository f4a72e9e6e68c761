"""The results of a check of links, as a table and in one line per kind of link."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from node.plan import LinkKind

Row = dict[str, Any]
_HEADERS = [
    "link", "from", "to", "Mbit/s", "modelled", "measured", "delay ms", "measured", "seconds", "measured",
    "error %",
]  # fmt: skip


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """By kind. The first rate and delay are configured; modelled and measured rates are of payload."""
    ordered = sorted(rows, key=lambda row: list(LinkKind).index(LinkKind(row["kind"])))
    return _HEADERS, [
        [
            row["kind"],
            row["src"],
            row["dst"],
            f"{row['rate_bps'] / 1e6:.2f}",
            f"{row['modelled_rate_bps'] / 1e6:.2f}",
            f"{row['measured_rate_bps'] / 1e6:.2f}",
            f"{row['delay_s'] * 1e3:g}",
            f"{row['measured_delay_s'] * 1e3:.1f}",
            f"{row['modelled_s']:.3f}",
            f"{row['measured_s']:.3f}",
            f"{100 * row['error']:+.2f}",
        ]
        for row in ordered
    ]


def summary_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Median and worst of the errors, sign apart; and what was measured more than once."""
    for kind in LinkKind:
        errors = [abs(row["error"]) for row in rows if row["kind"] == kind]
        if errors:
            yield _line(kind.value, errors)
    yield _line("all", [abs(row["error"]) for row in rows])
    if again := sum(row["tries"] > 1 for row in rows):
        yield f"{again} of {len(rows)} were sent again, being slower than modelled at first: the fastest counts"


def _line(name: str, errors: Sequence[float]) -> str:
    median, worst = 100 * statistics.median(errors), 100 * max(errors)
    return f"{name}: {len(errors)} links, error median {median:.2f} %, worst {worst:.2f} %"
