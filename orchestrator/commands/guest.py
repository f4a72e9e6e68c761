"""The same command again, where its links are those of a guest."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import typer

from orchestrator.plans.scenario import Scenario


def hand_over(
    context: typer.Context, scenario: Scenario, links: str | None, out: Path | None, label: str
) -> None:
    """Of a command that makes runs, if the links are a guest's and this is not that guest: runs it there and ends.

    out: the run folder; None: the default one of `label`.
    """
    from orchestrator.commands.results import write_reports
    from orchestrator.run.running import default_folder

    if (guest := _guest(scenario, links)) is not None:
        folder = (out or default_folder(label)).resolve()
        code = _again(context, scenario, guest, folder)
        if code == 0:
            write_reports(folder)
        sys.exit(code)


def hand_over_printing(context: typer.Context, scenario: Scenario, links: str | None) -> None:
    """The same for a command that only prints."""
    if (guest := _guest(scenario, links)) is not None:
        with tempfile.TemporaryDirectory(prefix="hffm-") as nothing:
            sys.exit(_again(context, scenario, guest, Path(nothing).resolve()))


def _guest(scenario: Scenario, links: str | None) -> str | None:
    """The links, if they are a guest's and this is not inside of it."""
    from orchestrator.run.guests import KERNELS, inside

    asked = links or scenario.links
    return asked if asked in KERNELS and inside() != asked else None


def _again(context: typer.Context, scenario: Scenario, links: str, out: Path) -> int:
    from orchestrator.plans.resolve import resolve
    from orchestrator.run.guests import again

    nodes = max(len(resolve(scenario, method).nodes) for method in scenario.methods)
    return again(links, _arguments(context, links, out), out, nodes)


def _arguments(context: typer.Context, links: str, out: Path) -> list[str]:
    """Of the command that runs now, with these links and this folder, as far as it takes them."""
    values = {**context.params, "links": links, "out": out}
    found = context.command_path.removeprefix(context.find_root().command_path).split()
    for parameter in context.command.params:
        value = values.get(parameter.name or "")
        if value is None or value is False:
            continue
        if parameter.param_type_name == "argument":
            found.append(str(value))
        else:
            found += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    return found
