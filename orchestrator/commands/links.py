"""`hffm links`: what shapes the links of a scenario: printed, set up, removed, checked, recorded."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.options import AsJson, Links, LinksName, MethodName, ScenarioFile
from orchestrator.commands.tables import show_table

Size = Annotated[int, typer.Option("--bytes", min=1000, help="Size of each test payload.")]
Concurrent = Annotated[
    bool,
    typer.Option("--concurrent", help="All links at once, instead of as many as leave the machine at ease."),
]


Interface = Annotated[str, typer.Option(help="Network interface of each node.")]
Addresses = Annotated[
    Path | None,
    typer.Option(help="YAML file, node: IPv4 address; default: those of namespaces.", show_default=False),
]
Round = Annotated[
    int, typer.Option("--round", min=0, help="Whose rates, where they change from round to round.")
]

_TRIES = 5  # for a transfer to be as fast as modelled


def register(app: typer.Typer) -> None:
    links = typer.Typer(help="What shapes the links of a scenario.", no_args_is_help=True)
    for command in (show, apply, clear, check, measure):
        links.command(command.__name__)(command)
    app.add_typer(links, name="links")


def show(
    scenario: ScenarioFile,
    method: MethodName = None,
    links: Links = None,
    node: Annotated[str | None, typer.Option(help="Only this node.", show_default=False)] = None,
    interface: Interface = "eth0",
    addresses: Addresses = None,
    round_index: Round = 0,
    as_json: AsJson = False,
) -> None:
    """Print the lines that `tc -batch` takes on each node, for any deployment. Runs nothing."""
    from node.wire.overhead import BUFFER_FRAMES
    from orchestrator.plans.reading import load_scenario
    from orchestrator.run.shaping import lines_of

    name = links.value if links else None
    found = lines_of(load_scenario(scenario), method, name, interface, addresses, round_index)
    chosen = found.nodes if node is None else {found.plan.node(node).id: found.nodes[node]}
    if as_json:
        typer.echo(json.dumps({"links": found.shaper, "interface": interface, "nodes": chosen}, indent=1))
        return
    before = f"ip link set dev {interface} gso_max_segs {BUFFER_FRAMES}"
    for name, entry in chosen.items():
        typer.echo(f"# {name}, {entry['address']}: {before}; tc -batch -")
        typer.echo("\n".join(entry["lines"]) if entry["lines"] else "# sends over no link")


def apply(
    scenario: ScenarioFile,
    method: MethodName = None,
    links: Links = None,
    node: Annotated[
        str | None,
        typer.Option(help="Shape this machine's own interface, as this node's.", show_default=False),
    ] = None,
    interface: Interface = "eth0",
    addresses: Addresses = None,
    round_index: Round = 0,
    as_json: AsJson = False,
) -> None:
    """Make a network namespace per node with shaped links, for any programs, and leave it in place (root).

    With --node: shape the interface of the board, container or namespace that this is run in (CAP_NET_ADMIN).
    """
    from deploy.links.netns import Network
    from orchestrator.plans.reading import load_scenario
    from orchestrator.run.shaping import plan_for_namespaces

    if node is not None:
        _apply_here(scenario, method, links, node, interface, addresses, round_index, as_json)
        return
    plan = plan_for_namespaces(load_scenario(scenario), method, links.value if links else None)
    network = Network.create(plan, stays=True)
    lines = [[n, network.namespace(n), a] for n, a in network.assignment.nodes.items()]
    if as_json:
        nodes = {node: {"namespace": name, "address": address} for node, name, address in lines}
        typer.echo(json.dumps({"id": network.ident, "links": plan.links_backend, "nodes": nodes}, indent=1))
        return
    title = f"{plan.scenario} {plan.method}, links {plan.links_backend}: ip netns exec NAMESPACE COMMAND"
    show_table(title, ["node", "namespace", "address"], lines, numbers_from=3)
    print("remove it with `hffm links clear`", file=sys.stderr)


def _apply_here(
    scenario: Path,
    method: str | None,
    links: LinksName | None,
    node: str,
    interface: str,
    addresses: Path | None,
    round_index: int,
    as_json: bool,
) -> None:
    from deploy.links.interface import Interface as Own
    from orchestrator.plans.reading import load_scenario
    from orchestrator.run.shaping import lines_of

    if addresses is None:
        raise typer.BadParameter("--node needs --addresses, a YAML file of lines NODE: IPv4 address")
    name = links.value if links else None
    found = lines_of(load_scenario(scenario), method, name, interface, addresses, round_index)
    lines = Own(found.plan, node, interface).apply(found.addresses, round_index)
    if as_json:
        what = {"links": found.shaper, "node": node, "interface": interface, "lines": lines}
        typer.echo(json.dumps(what, indent=1))
        return
    count = len(found.plan.outgoing(node))
    print(f"{interface} is shaped as '{node}': {count} links by {found.shaper}", file=sys.stderr)
    print(f"remove it with `hffm links clear --interface {interface}`", file=sys.stderr)


def clear(
    scenario: Annotated[
        Path | None, typer.Argument(help="Only networks of this scenario.", show_default=False)
    ] = None,
    interface: Annotated[
        str | None,
        typer.Option(help="What `apply --node` did to this interface of this machine.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove the networks of `links apply` and of runs that crashed. Those in use stay."""
    from deploy.links.interface import clear as clear_interface
    from orchestrator.plans.reading import load_scenario
    from orchestrator.run.shaping import clear_networks

    if interface is not None:
        cleared = clear_interface(interface)
        if as_json:
            typer.echo(json.dumps({"interface": interface, "cleared": cleared}))
        else:
            typer.echo(f"{interface} is as the kernel made it" if cleared else "nothing to remove")
        return
    name = None if scenario is None else load_scenario(scenario).name
    removed, kept = clear_networks(name)
    if as_json:
        typer.echo(json.dumps({"removed": removed, "in_use": kept}, indent=1))
        return
    for entry in removed:
        typer.echo(f"removed {entry['id']}: {entry['namespaces']} namespaces of {_whose(entry)}")
    for entry in kept:
        typer.echo(f"kept {entry['id']}: process {entry.get('pid', '?')} uses it for {_whose(entry)}")
    if not removed and not kept:
        typer.echo("nothing to remove")


def _whose(entry: dict[str, Any]) -> str:
    return f"{entry.get('scenario', 'an unknown scenario')} {entry.get('method', '')}".strip()


def check(
    context: typer.Context,
    scenario: ScenarioFile,
    method: MethodName = None,
    links: Links = None,
    size: Size = 6_000_000,
    concurrent: Concurrent = False,
    round_index: Round = 0,
    as_json: AsJson = False,
) -> None:
    """Send a test payload over every link and compare what it measures with the model."""
    from orchestrator.commands.guest import hand_over_printing
    from orchestrator.plans.reading import load_scenario
    from orchestrator.report.check_table import summary_lines, table
    from orchestrator.run.checking import check as send
    from orchestrator.run.shaping import plan_for_check

    loaded = load_scenario(scenario)
    hand_over_printing(context, loaded, links)
    plan = plan_for_check(loaded, method, links.value if links else None, round_index)
    tries = 1 if plan.links_backend == "none" else _TRIES
    samples = asyncio.run(send(plan, size, concurrent=concurrent, tries=tries, say=_say))
    rows = [sample.row(plan) for sample in samples]
    if as_json:
        head = {"scenario": plan.scenario, "method": plan.method, "links": plan.links_backend}
        typer.echo(json.dumps({**head, "rows": rows}, indent=1))
        return
    title = f"{plan.scenario} {plan.method}, links {plan.links_backend}, {size / 1e6:g} MB over each link"
    headers, lines = table(rows)
    show_table(title, headers, lines, numbers_from=3)
    for line in summary_lines(rows):
        typer.echo(line)


def measure(
    scenario: Annotated[
        Path | None,
        typer.Argument(help="Send test payloads over its links.", show_default=False),
    ] = None,
    method: MethodName = None,
    links: Annotated[LinksName, typer.Option(help="What holds these to their rates.")] = LinksName.NONE,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", help="Take the transfers that the nodes of this run have logged.", show_default=False
        ),
    ] = None,
    size: Size = 6_000_000,
    out: Annotated[Path | None, typer.Option(help="File to write; default: standard output.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record the rates that real links measure, as a link table that scenarios can use."""
    from orchestrator.plans.link_table import table_text
    from orchestrator.plans.reading import load_scenario
    from orchestrator.run.measuring import measured_now, measured_rows, write

    if (scenario is None) == (run is None):
        raise typer.BadParameter("give a SCENARIO, whose links are tried now, or a run folder with --run")
    if run is not None:
        rows, origin = measured_rows(run)
    else:
        assert scenario is not None
        rows, origin = measured_now(load_scenario(scenario), method, links.value, size, _say)
    if out is not None:
        write(out, table_text(rows, origin))
    if as_json:
        typer.echo(json.dumps({"rows": rows}, indent=1))
    elif out is None:
        typer.echo(table_text(rows, origin), nl=False)
    else:
        print(
            f"{len(rows)} links written; use them with channel: {{model: table, table: {out}}}",
            file=sys.stderr,
        )


def _say(done: int, count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {count} links", end="\n" if done == count else "", file=sys.stderr, flush=True)
    elif done == count or done % 20 == 0:
        print(f"{done} of {count} links", file=sys.stderr, flush=True)
