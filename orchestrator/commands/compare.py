"""`hffm compare`: every method of a scenario on the same data, seeds and initial modules."""

from __future__ import annotations

from typing import Annotated

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
    seeds: Annotated[
        str | None,
        typer.Option(
            help="How many seeds, counted up from the scenario's, or a list of them: 7,8,9. Each method runs once "
            "with each; the table gives the mean and the standard deviation. A drawn network is drawn anew with "
            "each, unless the scenario sets topology.seed.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run each method of a scenario on the same data, seeds and initial modules; then print one table."""
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
    chosen = _seeds(seeds, loaded.seed)
    folder, runs = run_methods(loaded, list(loaded.methods), settings, out, single=False, seeds=chosen)
    if inside() is None:  # else the host's side does it
        write_reports(folder)
    show_results(runs, folder, as_json)


def _seeds(given: str | None, first: int) -> list[int]:
    """Empty: the scenario's own."""
    if given is None:
        return []
    try:
        found = [int(part) for part in given.split(",")]
    except ValueError:
        found = []
    if "," not in given and found and 1 <= found[0] <= 1000:
        return [first + i for i in range(found[0])]
    if len(found) < 2 or len(set(found)) < len(found) or min(found) < 0:
        why = f"'{given}' is neither a number of seeds from 1 on nor different seeds such as 7,8,9"
        raise typer.BadParameter(why, param_hint="--seeds")
    return found
