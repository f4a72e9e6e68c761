"""Prints the comparison: in colour on a terminal, the same text plainly elsewhere."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

from orchestrator.record.summary import Summary
from orchestrator.report.notes import footnotes, headline
from orchestrator.report.table import table_lines, table_rows

_STYLES = {
    "title": "bold",
    "group": "cyan",
    "head": "bold",
    "rule": "dim",
    "row": "",
    "gap": "",
    "note": "dim",
}
_WIDEST, _NARROWEST, _ELSEWHERE = 120, 60, 120


def comparison(summaries: Sequence[Summary], width: int) -> list[tuple[str, str]]:
    """All lines with what they are: the names of `table.table_lines`, `title` and `note`."""
    lines = [("title", line) for line in textwrap.wrap(headline(summaries), width)]
    lines += [("gap", ""), *table_lines(table_rows(summaries), width), ("gap", "")]
    notes = footnotes(summaries)
    indent = 2 + max((len(n.term) for n in notes), default=0)
    for note in notes:
        first, rest = f"{note.term:<{indent}}", " " * indent
        wrapped = textwrap.wrap(note.text, width, initial_indent=first, subsequent_indent=rest)
        lines += [("note", line) for line in wrapped]
    return lines


def show_comparison(summaries: Sequence[Summary], file: TextIO | None = None) -> None:
    out = file or sys.stdout
    terminal = out.isatty()
    columns = shutil.get_terminal_size().columns if terminal else _ELSEWHERE
    lines = comparison(summaries, min(_WIDEST, max(_NARROWEST, columns)))
    if not terminal:
        text = "".join(f"{text.rstrip()}\n" for _, text in lines)
        encoding = out.encoding or "utf-8"
        out.write(text.replace("─", "-").replace("·", "|").replace("–", "-") if _is_poor(encoding) else text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out, highlight=False)
    for what, text in lines:
        console.print(Text(text, style=_STYLES[what]), soft_wrap=True)


def _is_poor(encoding: str) -> bool:
    try:
        "─·–".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return True
    return False
