"""`hffm run`: one method of a scenario on real nodes, from start to table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import (
    AsJson,
    Certs,
    Insecure,
    Launcher,
    Links,
    MethodName,
    OutFolder,
    Restart,
    Rounds,
    Tls,
    WithoutTraining,
)


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    context: typer.Context,
    scenario: Annotated[
        Path | None,
        typer.Argument(help="A scenario (YAML), unless a run is resumed.", show_default=False),
    ] = None,
    method: MethodName = None,
    rounds: Rounds = None,
    out: OutFolder = None,
    launcher: Launcher = None,
    links: Links = None,
    tls: Tls = False,
    certs: Certs = None,
    insecure: Insecure = False,
    restart: Restart = 0,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Run folder of a run that was broken off: does the rest of its rounds, with its own options.",
            show_default=False,
        ),
    ] = None,
    without_training: WithoutTraining = False,
    as_json: AsJson = False,
) -> None:
    """Start the nodes, run the rounds, stop everything, write the run folder and print the table."""
    from orchestrator.commands.guest import hand_over
    from orchestrator.commands.results import show_results, write_reports
    from orchestrator.plans.reading import load_scenario
    from orchestrator.run.guests import inside
    from orchestrator.run.running import Settings, run_methods
    from orchestrator.run.securing import Asked

    if resume is not None:
        _resume(context, resume, restart, as_json)
        return
    if scenario is None:
        raise typer.BadParameter("give a SCENARIO, such as deploy/scenarios/quickstart.yaml, or --resume RUN")
    loaded = load_scenario(scenario)
    hand_over(context, loaded, links, out, f"{loaded.name}-{method or loaded.methods[-1]}")
    settings = Settings(
        rounds,
        links.value if links else None,
        launcher.value if launcher else None,
        Asked(tls, certs, insecure),
        restart,
        without_training,
    )
    folder, runs = run_methods(loaded, [method or loaded.methods[-1]], settings, out, single=True)
    if inside() is None:  # else the host's side does it
        write_reports(folder)
    show_results(runs, folder, as_json)


def _resume(context: typer.Context, folder: Path, restart: int, as_json: bool) -> None:
    from orchestrator.commands.results import show_results, write_reports
    from orchestrator.run.resuming import resume

    given = [name for name, value in context.params.items() if value is not None and value is not False]
    if extra := sorted(set(given) - {"resume", "restart", "as_json"}):
        raise typer.BadParameter(f"a resumed run has its own {extra[0]}: leave it out")
    summary = resume(folder, restart or None)
    write_reports(folder)
    show_results([summary], folder, as_json)
