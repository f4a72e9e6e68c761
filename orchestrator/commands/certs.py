"""`hffm certs`: a private CA, and a certificate for each node of a scenario."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import AsJson, ScenarioFile
from orchestrator.commands.tables import show_table


def register(app: typer.Typer) -> None:
    app.command("certs")(certs)


def certs(
    scenario: ScenarioFile,
    out: Annotated[Path, typer.Option(help="Folder for the certificates; those in it are kept.")],
    ca_out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the CA with its key, which no node needs: used if there, else made. "
            "Default: `ca` below --out.",
            show_default=False,
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="How long the certificates hold.")] = 365,
    renew: Annotated[
        list[str] | None,
        typer.Option(help="Make the certificate of this node anew; can be repeated.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a private CA, a certificate for each node under any method, and the operator's; for mutual TLS."""
    from orchestrator.plans.reading import load_scenario
    from orchestrator.plans.resolve import resolve
    from orchestrator.run.certificates import Authority, holders_of, make_certificates

    loaded = load_scenario(scenario)
    holders = holders_of([resolve(loaded, method) for method in loaded.methods])
    ca = ca_out or out / "ca"
    if ca.exists() or (out / "ca.pem").exists():
        authority = Authority.load(ca)
    else:
        authority = Authority.new(loaded.name)
        authority.save(ca)
    issued = make_certificates(holders, out, authority, days, renew or ())
    lines = [
        [who.certified.node, who.certified.role, " ".join(who.hosts), f"{one.until:%Y-%m-%d}", one.state]
        for one in issued
        for who in [one.holder]
    ]
    if as_json:
        keys = ("node", "role", "hosts", "valid_until", "state")
        typer.echo(json.dumps({"rows": [dict(zip(keys, line, strict=True)) for line in lines]}, indent=1))
    else:
        show_table(
            f"{loaded.name}: certificates in {out}",
            ["node", "role", "hosts", "valid until", "state"],
            lines,
            numbers_from=5,
        )
    print(f"give each node its own folder below {out}, and nobody {ca / 'key.pem'}", file=sys.stderr)
