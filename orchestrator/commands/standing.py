"""`hffm up`, `hffm rounds start`, `hffm status`, `hffm down`: nodes that stay, and rounds when the user says so."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.options import (
    AsJson,
    Launcher,
    Links,
    MethodName,
    OutFolder,
    ScenarioFile,
)
from orchestrator.commands.tables import show_table

RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--run", help="Folder that `hffm up` has made; default: the newest below runs/.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    app.command("up")(up)
    rounds = typer.Typer(help="Rounds of nodes that are up.", no_args_is_help=True)
    rounds.command("start")(start)
    app.add_typer(rounds, name="rounds")
    app.command("status")(status)
    app.command("down")(down)


def up(
    scenario: ScenarioFile,
    method: MethodName = None,
    out: OutFolder = None,
    launcher: Launcher = None,
    links: Links = None,
) -> None:
    """Start the nodes of one method and keep them; returns when all are ready."""
    from orchestrator.plans.reading import load_scenario
    from orchestrator.run import standing
    from orchestrator.run.progress import progress_for
    from orchestrator.run.running import Settings, choice_of, default_folder, open_record, plan_run

    loaded = load_scenario(scenario)
    settings = Settings(None, links.value if links else None, launcher.value if launcher else None)
    choice = choice_of(loaded, settings)
    plan = plan_run(loaded, method or loaded.methods[-1], settings, choice)
    folder = out or default_folder(f"{loaded.name}-{plan.method}")
    open_record(loaded, plan, folder, choice).close()
    progress = progress_for(plan.method, plan, 0, plan.rounds)
    try:
        standing.start(plan, folder, choice.launcher)
        asyncio.run(standing.until_ready(plan, folder, progress))
    finally:
        progress.close()
    print(f"{len(plan.nodes)} nodes are ready; run folder: {folder}", file=sys.stderr)


def start(
    count: Annotated[int, typer.Argument(min=1, help="How many rounds of the devices.")],
    run: RunFolder = None,
    detach: Annotated[bool, typer.Option(help="Return at once instead of following the rounds.")] = False,
) -> None:
    """Start COUNT rounds, and follow them."""
    from orchestrator.run import standing
    from orchestrator.run.progress import progress_for

    _, plan = standing.find(run)
    first = asyncio.run(standing.start_rounds(plan, count))
    if detach:
        return
    progress = progress_for(plan.method, plan, first, count)
    try:
        asyncio.run(standing.follow(plan, progress))
    finally:
        progress.close()


def status(run: RunFolder = None, as_json: AsJson = False) -> None:
    """Each node's role, parent, round, phase, last heartbeat and module versions."""
    from orchestrator.run import standing

    folder, plan = standing.find(run)

    async def ask() -> Any:
        async with standing.operator_of(plan) as operator:
            return await operator.status()

    reply = asyncio.run(ask())
    now = time.time()
    nodes = [_facts(n, now) for n in reply.nodes]
    if as_json:
        head = {"run": str(folder), "state": reply.state, "rounds_done": reply.rounds_done}
        failure = f"{reply.error}: {reply.message}" if reply.error else None
        typer.echo(json.dumps({**head, "error": failure, "nodes": nodes}, indent=1))
        return
    title = f"{plan.scenario} {plan.method}: {reply.state}, {reply.rounds_done} rounds done"
    show_table(
        title + (f"; {reply.error}: {reply.message}" if reply.error else ""),
        ["node", "role", "parent", "round", "phase", "heard s ago", "modules"],
        [_line(n) for n in nodes],
        numbers_from=7,
    )


def _facts(status: Any, now: float) -> dict[str, Any]:
    heard = status.last_heartbeat_unix_s
    return {
        "node": status.node,
        "role": status.role,
        "parent": status.parent or None,
        "round": status.round if status.round >= 0 else None,
        "phase": status.phase,
        "last_heartbeat_s": round(max(0.0, now - heard), 3) if heard else None,
        "versions": dict(status.versions),
    }


def _line(node: dict[str, Any]) -> list[str]:
    versions = " ".join(f"{name}@{digest[:6]}" for name, digest in sorted(node["versions"].items()))
    plain = [
        node["node"],
        node["role"],
        node["parent"],
        node["round"],
        node["phase"],
        node["last_heartbeat_s"],
    ]
    return [*("-" if value is None else str(value) for value in plain), versions]


def down(
    run: RunFolder = None,
    force: Annotated[bool, typer.Option(help="End the nodes at once; modules are not fetched.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch events and modules, stop every node, write the summary and print the table."""
    from node.errors import HffmError, Interrupted
    from orchestrator.commands.results import show_results, write_reports
    from orchestrator.record.folder import RunRecord
    from orchestrator.run import standing
    from orchestrator.run.running import finish

    folder, plan = standing.find(run)
    failure: HffmError | None = None
    with RunRecord(folder, plan) as record:
        if force:
            standing.end_by_force(folder)
            failure = Interrupted("ended by hffm down --force")
        else:
            failure = asyncio.run(standing.end(plan, folder, record))
        summary = finish(plan, record, None, failure)
    if failure is None:
        write_reports(folder)
    show_results([summary], folder if failure is None else None, as_json)
