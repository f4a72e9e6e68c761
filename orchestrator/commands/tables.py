"""Tables on standard output: framed on a terminal, plain columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer


def show_table(
    title: str, headers: Sequence[str], lines: Sequence[Sequence[str]], *, numbers_from: int
) -> None:
    """Columns from `numbers_from` on are aligned to the right."""
    if sys.stdout.isatty():
        _framed(title, headers, lines, numbers_from)
        return
    widths = [max(map(len, column)) for column in zip(headers, *lines, strict=True)]
    typer.echo(title)
    for line in (headers, *lines) if any(headers) else lines:
        cells = [
            cell.rjust(width) if i >= numbers_from else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        typer.echo(("  " + "  ".join(cells)).rstrip())


def _framed(title: str, headers: Sequence[str], lines: Sequence[Sequence[str]], numbers_from: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        show_header=any(headers),
        padding=(0, 1, 0, 0),  # two blanks between columns: seven columns of numbers fit into 80
    )
    for i, header in enumerate(headers):
        table.add_column(
            header, justify="right" if i >= numbers_from else "left", overflow="fold", no_wrap=i == 0
        )
    for line in lines:
        table.add_row(*line)
    Console().print(table, markup=False)
