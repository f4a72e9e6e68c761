"""The same command again, where its links are those of a guest."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from orchestrator.scenario import Scenario


def hand_over(
    context: typer.Context,
    scenario: Scenario,
    links: str | None,
    out: Path | None,
    label: str,
    writes_reports: bool = True,
) -> None:
    """If the links are a guest's and this is not that guest: runs this command there, and ends with its exit code.

    out: where it may write; None: the default folder of `label`.
    """
    from orchestrator.guests import KERNELS, again, inside

    links = links or scenario.links
    if links not in KERNELS or inside() == links:
        return
    from orchestrator.commands.results import write_reports
    from orchestrator.resolve import resolve
    from orchestrator.running import default_folder

    nodes = max(len(resolve(scenario, method).nodes) for method in scenario.methods)
    folder = (out or default_folder(label)).resolve()
    code = again(links, _arguments(context, links, folder), folder, nodes)
    if code == 0 and writes_reports:
        write_reports(folder)
    sys.exit(code)


def _arguments(context: typer.Context, links: str, out: Path) -> list[str]:
    """Of the command that runs now, with these links and this folder."""
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
