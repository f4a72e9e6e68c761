"""`hffm plan`: what a scenario resolves to, for one of its methods."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.errors import RunFolderError
from orchestrator.commands.options import LinksName
from orchestrator.commands.tables import show_table

if TYPE_CHECKING:
    from orchestrator.plans.scenario import Scenario


class Channel(StrEnum):
    PUBLISHED = "published"
    PHYSICAL = "physical"
    TABLE = "table"


def register(app: typer.Typer) -> None:
    app.command("plan")(plan)


def plan(
    scenario: Annotated[
        Path, typer.Argument(help="A scenario (YAML), such as deploy/scenarios/quickstart.yaml.")
    ],
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            "-m",
            help="star, edge-only, edge-only+d2d, hf-fm-E or hf-fm+d2d-E; default: the scenario's last.",
        ),
    ] = None,
    channel: Annotated[
        Channel | None, typer.Option(help="Channel model in place of the scenario's.", show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the plan itself, the file that nodes read.")
    ] = False,
    png: Annotated[
        Path | None, typer.Option(help="Draw the topology to this file (png, svg or pdf).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file.")] = None,
    compose: Annotated[
        Path | None,
        typer.Option(
            help="Make this run folder, with a Docker Compose file for nodes that you start, and nothing else.",
            show_default=False,
        ),
    ] = None,
    links: Annotated[
        LinksName | None, typer.Option(help="Of --compose; default: the scenario's.", show_default=False)
    ] = None,
) -> None:
    """Resolve a scenario: nodes, links with modelled rates, routes, heads, what is averaged where and when."""
    from node.plan import dump_plan
    from orchestrator.plans.reading import load_scenario
    from orchestrator.plans.resolve import resolve
    from orchestrator.report.plan_text import sections

    loaded = load_scenario(scenario)
    if compose is not None:
        _compose(loaded, method, links, compose)
        return
    resolved = resolve(loaded, method or loaded.methods[-1], channel.value if channel else None)
    if out is not None:
        try:
            out.write_text(dump_plan(resolved))
        except OSError as error:
            raise RunFolderError(
                f"{out}: cannot write the plan: {error.strerror}; choose another --out"
            ) from error
    if png is not None:
        from orchestrator.report.draw import save_drawing

        save_drawing(resolved, png)
    if as_json:
        typer.echo(dump_plan(resolved), nl=False)
        return
    for i, section in enumerate(sections(resolved)):
        if i:
            typer.echo()
        show_table(section.title, section.headers, section.lines, numbers_from=section.numbers_from)


def _compose(scenario: Scenario, method: str | None, links: LinksName | None, folder: Path) -> None:
    from orchestrator.run.by_hand import deploy_by_hand

    written = deploy_by_hand(scenario, method, links.value if links else None, folder)
    typer.echo(folder / "compose.yaml")
    print(
        f"{len(written.nodes)} nodes: `docker compose -f {folder}/compose.yaml up -d`, then "
        f"`hffm rounds start N --run {folder}` and `hffm down --run {folder}`",
        file=sys.stderr,
    )
