"""Prints what runs amount to."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from orchestrator.record.summary import Summary


def write_reports(folder: Path) -> None:
    """A page for each run, and one that compares them when there are several."""
    from orchestrator.record.runs import load_run, run_folders
    from orchestrator.report.page import write_report

    runs = [load_run(each) for each in run_folders(folder)]
    for run in runs:
        write_report([run], run.folder)
    if len(runs) > 1:
        write_report(runs, folder)


def show_results(summaries: Sequence[Summary], folder: Path | None, as_json: bool) -> None:
    """The comparison on standard output; where the run folder is, on standard error."""
    if as_json:
        from orchestrator.report.table import rows, spreads

        typer.echo(json.dumps({"rows": rows(summaries), "methods": spreads(summaries)}, indent=1))
    else:
        from orchestrator.report.show import show_comparison

        show_comparison(summaries)
    if folder is not None:
        print(f"run folder: {folder}; open {folder / 'report.html'}", file=sys.stderr)
