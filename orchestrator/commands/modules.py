"""`hffm modules`: the modules of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import AsJson

if TYPE_CHECKING:
    from orchestrator.record.decisions import Made
    from orchestrator.record.modules import AtTier, ModuleFigures

_HEADERS = (
    *("module", "values", "MB", "holders", "tier", "every", "nodes", "versions", "contributors"),
    *("drift first, %", "last, %", "at end, %"),
)


def register(app: typer.Typer) -> None:
    app.command("modules")(modules)


def modules(
    run: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Print the modules of a run: size, contributors and versions by tier, and how far versions drifted apart.

    Drift: distance of what came together at a tier to its mean, as a share of the mean's norm. At end: the same of
    last versions that never came together. Of a network-aware run also: what was decided, and why.
    """
    from orchestrator.commands.tables import show_table
    from orchestrator.record.decisions import decisions
    from orchestrator.record.modules import module_figures
    from orchestrator.record.runs import load_run

    loaded = load_run(run, allow_incomplete=True)
    found, made = module_figures(loaded), decisions(loaded)
    if as_json:
        told = {"modules": [m.model_dump() for m in found], "decisions": [d.model_dump() for d in made]}
        typer.echo(json.dumps(told, indent=1))
        return
    lines = [line for one in found for line in _lines(one)]
    show_table(f"Modules of {run}", _HEADERS, lines, numbers_from=1)
    if made:
        decided = [line for one in made for line in _decided(one)]
        show_table(
            "Decisions", ["from round", "module", "averaged every", "because"], decided, numbers_from=4
        )


def _lines(one: ModuleFigures) -> list[list[str]]:
    """A line per tier; what is said of the module itself stands in the first."""
    about = [one.module, f"{one.values:,}", f"{one.bytes / 1e6:.3f}", str(one.holders)]
    end = _percent(one.apart_at_end)
    if not one.tiers:
        return [[*about, *["–"] * 7, end]]
    first, *others = (_at(tier) for tier in one.tiers)
    return [[*about, *first, end], *([*[""] * 4, *other, ""] for other in others)]


def _at(tier: AtTier) -> list[str]:
    drift = list(tier.drift.values())
    return [
        tier.tier,
        ", ".join(map(str, tier.every)) or "–",
        str(tier.nodes),
        str(tier.versions),
        str(tier.contributors),
        _percent(drift[0] if drift else None),
        _percent(drift[-1] if drift else None),
    ]


def _decided(one: Made) -> list[list[str]]:
    """A line per module, then what ended the steps."""
    lines = []
    for module, periods in one.periods.items():
        every = ", ".join(f"{p} at {tier}" for tier, p in periods.items())
        lines.append([str(one.round), module, every, one.reasons.get(module, "")])
    if one.latency_s is None or one.energy_j is None:
        return lines
    return [*lines, ["", "", f"{one.latency_s:.4g} s, {one.energy_j:.4g} J a round", f"then: {one.stopped}"]]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"
