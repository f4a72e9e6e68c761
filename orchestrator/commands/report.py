"""`hffm report`: the table and figures again, from run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import AsJson


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or a folder of `hffm compare`.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.html and the PNGs; default: the folder given.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the table of run folders again, and write one self-contained HTML page and PNGs."""
    from orchestrator.commands.results import show_results
    from orchestrator.record.runs import load_run, run_folders
    from orchestrator.report.page import write_report

    loaded = [load_run(folder) for given in runs for folder in run_folders(given)]
    target = out or (runs[0] if len(runs) == 1 else Path())
    show_results([run.summary for run in loaded], None, as_json)
    page = write_report(loaded, target)
    typer.echo(f"report: {page}", err=True)
