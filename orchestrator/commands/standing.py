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
    Certs,
    Insecure,
    Launcher,
    Links,
    MethodName,
    OutFolder,
    Restart,
    ScenarioFile,
    Tls,
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
    tls: Tls = False,
    certs: Certs = None,
    insecure: Insecure = False,
    restart: Restart = 0,
) -> None:
    """Start the nodes of one method and keep them; returns when all are ready."""
    from orchestrator.plans.reading import load_scenario
    from orchestrator.run import standing
    from orchestrator.run.progress import progress_for
    from orchestrator.run.running import Settings, choice_of, default_folder, open_record, plan_run
    from orchestrator.run.securing import Asked, check, forget, secure

    loaded = load_scenario(scenario)
    asked = Asked(tls, certs, insecure)
    settings = Settings(
        None, links.value if links else None, launcher.value if launcher else None, asked, restart
    )
    choice = choice_of(loaded, settings)
    plan = plan_run(loaded, method or loaded.methods[-1], settings, choice)
    folder = out or default_folder(f"{loaded.name}-{plan.method}")
    check(plan, asked, choice)
    open_record(loaded, plan, folder, choice, settings).close()
    progress = progress_for(plan.method, plan, 0, plan.rounds)
    try:
        security = secure(plan, folder, asked, choice)
        nodes = standing.start(plan, folder, choice.launcher, security, restart)
        asyncio.run(standing.until_ready(nodes, progress))
    except BaseException:
        forget(folder)
        raise
    finally:
        progress.close()
    print(f"{len(plan.nodes)} nodes are ready; run folder: {folder}", file=sys.stderr)


def start(
    count: Annotated[int, typer.Argument(min=1, help="How many rounds of the devices.")],
    run: RunFolder = None,
    certs: Certs = None,
    detach: Annotated[bool, typer.Option(help="Return at once instead of following the rounds.")] = False,
) -> None:
    """Start COUNT rounds, and follow them."""
    from orchestrator.run import standing
    from orchestrator.run.progress import progress_for

    nodes = standing.find(run, certs)
    first = asyncio.run(standing.start_rounds(nodes, count))
    if detach:
        return
    progress = progress_for(nodes.plan.method, nodes.plan, first, count)
    try:
        asyncio.run(standing.follow(nodes, progress))
    finally:
        progress.close()


def status(run: RunFolder = None, certs: Certs = None, as_json: AsJson = False) -> None:
    """Each node's role, parent, round, phase, last heartbeat and module versions."""
    from orchestrator.run import standing

    nodes_up = standing.find(run, certs)
    plan = nodes_up.plan

    async def ask() -> Any:
        async with standing.operator_of(nodes_up) as operator:
            return await operator.status()

    reply = asyncio.run(ask())
    now = time.time()
    nodes = [_facts(n, now) for n in reply.nodes]
    if as_json:
        head = {"run": str(nodes_up.folder), "state": reply.state, "rounds_done": reply.rounds_done}
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
    certs: Certs = None,
    force: Annotated[bool, typer.Option(help="End the nodes at once; modules are not fetched.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch events and modules, stop every node, write the summary and print the table."""
    from node.errors import HffmError, Interrupted
    from orchestrator.commands.results import show_results, write_reports
    from orchestrator.record.folder import RunRecord
    from orchestrator.run import standing
    from orchestrator.run.running import finish
    from orchestrator.run.securing import forget

    nodes = standing.find(run, certs)
    folder, plan = nodes.folder, nodes.plan
    failure: HffmError | None = None
    with RunRecord(folder, plan) as record:
        if force:
            standing.end_by_force(folder)
            failure = Interrupted("ended by hffm down --force")
        else:
            failure = asyncio.run(standing.end(nodes, record))
        summary = finish(plan, record, None, failure)
    forget(folder)
    if failure is None:
        write_reports(folder)
    show_results([summary], folder if failure is None else None, as_json)
