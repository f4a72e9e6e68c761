"""`hffm cost`: what each method would cost, without starting anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.tables import show_table


def register(app: typer.Typer) -> None:
    app.command("cost")(cost)


def cost(
    scenario: Annotated[
        Path, typer.Argument(help="A scenario (YAML), such as deploy/scenarios/quickstart.yaml.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the rows as JSON, in full precision.")
    ] = False,
) -> None:
    """Price one round of every method of a scenario, under every channel model. Starts nothing."""
    from orchestrator.plans.reading import load_scenario
    from orchestrator.report.cost_table import cost_rows, text_table, ways_table

    loaded = load_scenario(scenario)
    rows = cost_rows(loaded)
    if as_json:
        typer.echo(json.dumps({"rows": rows}, indent=1))
        return
    headers, lines = text_table(rows)
    megabytes = rows[0]["payload_bytes"] / 1e6
    title = f"{loaded.name}: modelled cost of one round, payload {megabytes:.3g} MB"
    show_table(title, headers, lines, numbers_from=1)
    if any("way" in row for row in rows):
        typer.echo()
        headers, lines = ways_table(rows)
        show_table(
            "The same, by what relays do with what passes through them", headers, lines, numbers_from=1
        )
