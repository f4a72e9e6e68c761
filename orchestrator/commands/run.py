"""`hffm run`: one method of a scenario on real nodes, from start to table."""

from __future__ import annotations

import typer

from orchestrator.commands.options import (
    AsJson,
    Launcher,
    Links,
    MethodName,
    OutFolder,
    Rounds,
    ScenarioFile,
)


def register(app: typer.Typer) -> None:
    app.command("run")(run)


def run(
    context: typer.Context,
    scenario: ScenarioFile,
    method: MethodName = None,
    rounds: Rounds = None,
    out: OutFolder = None,
    launcher: Launcher = None,
    links: Links = None,
    as_json: AsJson = False,
) -> None:
    """Start the nodes, run the rounds, stop everything, write the run folder and print the table."""
    from orchestrator.commands.guest import hand_over
    from orchestrator.commands.results import show_results, write_reports
    from orchestrator.plans.reading import load_scenario
    from orchestrator.run.guests import inside
    from orchestrator.run.running import Settings, run_methods

    loaded = load_scenario(scenario)
    hand_over(context, loaded, links, out, f"{loaded.name}-{method or loaded.methods[-1]}")
    settings = Settings(rounds, links.value if links else None, launcher.value if launcher else None)
    folder, runs = run_methods(loaded, [method or loaded.methods[-1]], settings, out, single=True)
    if inside() is None:  # else the host's side does it
        write_reports(folder)
    show_results(runs, folder, as_json)
