"""The command `hffm`. Results go to standard output, logs and errors to standard error."""

from __future__ import annotations

import sys

import typer

from node.errors import HffmError
from orchestrator.commands import (
    certs,
    compare,
    cost,
    export,
    links,
    modules,
    plan,
    pretrain,
    report,
    run,
    standing,
)

app = typer.Typer(
    name="hffm",
    help="Hierarchical federated foundation models on real nodes: plan, price, run and compare topologies.",
    no_args_is_help=True,
    add_completion=False,
    epilog="Exit codes: 0 done; 2 wrong usage; the others, one per kind of error, are in docs/errors.md.",
    pretty_exceptions_enable=False,  # what a user did wrong is one line, and the rest is a bug with its traceback
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _command in (plan, cost, certs, run, compare, links, standing, report, modules, export, pretrain):
    _command.register(app)


def main() -> None:
    """Entry point: an HffmError is one line and its exit code."""
    try:
        app()
    except HffmError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()


if __name__ == "__main__":
    main()
