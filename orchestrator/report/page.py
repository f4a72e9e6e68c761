"""The report: one page that needs nothing else, and its figures as PNG files.

report.html                 inline style and figures; follows the reader's light or dark
accuracy.png latency.png energy.png links.png topology-METHOD.png
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node.errors import RunFolderError
from orchestrator.record.runs import REPORT, Run
from orchestrator.report.groups import Group, group
from orchestrator.report.tables import comparison_table, details, facts, title_and_lead
from orchestrator.report.tasks import task_table

_CAPTIONS = {
    "accuracy": (
        "Accuracy by round",
        "Over the devices' own test samples, complete rounds only. Left: each device's model after local "
        "training, as published. Right: after it adopted what came back. Several seeds: their mean, and from "
        "the least to the most.",
    ),
    "latency": (
        "Latency by phase",
        "Seconds per round of the devices. Thin: what the model says of the transfers. Thick: the critical path "
        "of what was measured, each device's own CPU time of training before its transfers.",
    ),
    "energy": (
        "Energy by link and by phase",
        "Joules per round, all nodes together. Sending is seconds times the power of the link; computing is "
        "what the nodes report of their phases, by the source named above.",
    ),
    "links": (
        "Links, measured beside modelled",
        "A dot is a link of a run: the mean of its transfers, from the first byte to the receipt. On the "
        "dashed line, a transfer takes what the model says.",
    ),
}


def write_report(runs: Sequence[Run], out_dir: Path) -> Path:
    """Writes report.html and the PNG files, and returns the page. Raises RunFolderError where it cannot."""
    if not runs:
        raise RunFolderError("no runs to report on: give one or more run folders")
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        html = _page(runs, out_dir)
        unfinished = out_dir / f".{REPORT}.unfinished"
        unfinished.write_text(html, encoding="utf-8")
        return unfinished.replace(out_dir / REPORT)
    except OSError as error:
        why = f"cannot write the report: {error.strerror}; choose another folder"
        raise RunFolderError(f"{out_dir}: {why}") from error


def _page(runs: Sequence[Run], out_dir: Path) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    summaries = [run.summary for run in runs]
    groups = group(summaries)
    title, lead = title_and_lead(summaries)
    figures, drawings = _draw(runs, groups, out_dir)
    return environment.get_template("report.html.j2").render(
        title=title,
        lead=lead,
        facts=facts(summaries),
        css=Markup((templates / "report.css").read_text(encoding="utf-8")),
        drawings=drawings,
        figures=[
            {
                "title": _CAPTIONS[name][0],
                "caption": _CAPTIONS[name][1],
                "svg": Markup(svg),
                "small": name == "links",
                "tasks": task_table(groups) if name == "accuracy" else None,
            }
            for name, svg in figures.items()
        ],
        runs=[details(run, label) for run, label in zip(runs, _labels(runs), strict=True)],
        **comparison_table(summaries),
    )


def _labels(runs: Sequence[Run]) -> list[str]:
    from orchestrator.report.labels import labels

    return labels([run.summary for run in runs])


def _draw(
    runs: Sequence[Run], groups: Sequence[Group], out_dir: Path
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The figures as SVG for the page and as PNG files beside it; the topologies, as PNG for both."""
    from orchestrator.report import figures
    from orchestrator.report.canvas import PAGE, PRINT, drawing, svg_of, write_png

    makers = {
        "accuracy": figures.accuracy_figure,
        "latency": figures.latency_figure,
        "energy": figures.energy_figure,
        "links": figures.links_figure,
    }
    found = {}
    with drawing():
        for name, make in makers.items():
            write_png(make(groups, PRINT), out_dir / f"{name}.png")
            found[name] = svg_of(make(groups, PAGE), name)
        return found, _topologies(runs, out_dir)


def _topologies(runs: Sequence[Run], out_dir: Path) -> list[dict[str, Any]]:
    """One per method: seeds of one method look alike, but for the places."""
    from orchestrator.report.canvas import png_of
    from orchestrator.report.draw import topology_figure

    drawings: dict[str, dict[str, Any]] = {}
    for run, label in zip(runs, _labels(runs), strict=True):
        if run.plan.method in drawings:
            continue
        figure = topology_figure(run.plan)
        name = re.sub(r"[^A-Za-z0-9+._-]+", "_", run.plan.method)[:60].lstrip(".")
        png = png_of(figure, 130)
        (out_dir / f"topology-{name}.png").write_bytes(png)
        drawings[run.plan.method] = {"label": label, "base64": base64.b64encode(png).decode()}
    return list(drawings.values())
