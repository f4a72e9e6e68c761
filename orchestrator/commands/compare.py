"""`hffm compare`: every method of a scenario on the same data, seed and initial modules."""

from __future__ import annotations

import typer

from orchestrator.commands.options import (
    AsJson,
    Certs,
    Insecure,
    Launcher,
    Links,
    OutFolder,
    Rounds,
    ScenarioFile,
    Tls,
    WithoutTraining,
)


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    context: typer.Context,
    scenario: ScenarioFile,
    rounds: Rounds = None,
    out: OutFolder = None,
    launcher: Launcher = None,
    links: Links = None,
    tls: Tls = False,
    certs: Certs = None,
    insecure: Insecure = False,
    without_training: WithoutTraining = False,
    as_json: AsJson = False,
) -> None:
    """Run each method of a scenario on the same data, seed and initial modules; then print one table."""
    from orchestrator.commands.guest import hand_over
    from orchestrator.commands.results import show_results, write_reports
    from orchestrator.plans.reading import load_scenario
    from orchestrator.run.guests import inside
    from orchestrator.run.running import Settings, run_methods
    from orchestrator.run.securing import Asked

    loaded = load_scenario(scenario)
    hand_over(context, loaded, links, out, loaded.name)
    settings = Settings(
        rounds,
        links.value if links else None,
        launcher.value if launcher else None,
        Asked(tls, certs, insecure),
        without_training=without_training,
    )
    folder, runs = run_methods(loaded, list(loaded.methods), settings, out, single=False)
    if inside() is None:  # else the host's side does it
        write_reports(folder)
    show_results(runs, folder, as_json)
