"""The tables and facts of a report, as plain values for its template."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from orchestrator.record.runs import Run
from orchestrator.record.summary import Summary
from orchestrator.record.traffic import LinkTraffic
from orchestrator.report.labels import printable
from orchestrator.report.notes import energy_sources, footnotes
from orchestrator.report.palette import strokes
from orchestrator.report.table import Column, Line, cells, table_rows, visible

_MOST_LINKS = 20
_HIGHER_IS_BETTER = "accuracy"
_NOT_RANKED = {
    ("latency_s", "wall"),
    ("energy_j", "compute"),
    ("accuracy", "baseline"),
}  # of this machine, data


def title_and_lead(summaries: Sequence[Summary]) -> tuple[str, str]:
    names = list(dict.fromkeys(printable(s.scenario) for s in summaries))
    count = len(summaries)
    first = summaries[0]
    lead = f"{count} run{'s' * (count > 1)} of separate device, edge and cloud processes over gRPC"
    if all(s.devices == first.devices for s in summaries):
        lead += f", {first.devices} devices each"
    return ", ".join(names), lead


def facts(summaries: Sequence[Summary]) -> list[tuple[str, str]]:
    def all_of(values: Sequence[object]) -> str:
        return ", ".join(dict.fromkeys(printable(str(v)) for v in values))

    return [
        ("channel", all_of([s.channel for s in summaries])),
        ("links", all_of([s.links_backend for s in summaries])),
        ("connections", all_of([s.security for s in summaries])),
        ("energy from", energy_sources(summaries)),
        ("rounds", all_of([s.rounds.done for s in summaries])),
        ("seed", all_of([s.seed for s in summaries])),
        ("modules", all_of([f"{s.module_bytes / 1e6:.3g} MB" for s in summaries])),
    ]


def comparison_table(summaries: Sequence[Summary]) -> dict[str, Any]:
    """`table` and `notes`: the comparison of the command line, with its best figures marked."""
    found = table_rows(summaries)
    groups = visible(found)
    stroke = strokes([s.method for s in summaries])
    columns = [
        (column, cells(column, found), _best(column, found), place == 0)
        for g in groups
        for place, column in enumerate(g.columns)
    ]
    table = {
        "groups": [{"head": g.head, "heads": [c.head for c in g.columns]} for g in groups],
        "rows": [
            {
                "label": line.label,
                "colour": stroke[line.method].colour,
                "cells": [
                    {"text": texts[i], "best": i in best, "starts": starts}
                    for _, texts, best, starts in columns
                ],
            }
            for i, line in enumerate(found)
        ],
    }
    return {"table": table, "notes": footnotes(summaries)}


def _best(column: Column, found: Sequence[Line]) -> set[int]:
    """The lines with the best mean, where lines differ and one is better than another."""
    if len(found) < 2 or column.keys[0] not in ("latency_s", "energy_j", _HIGHER_IS_BETTER):
        return set()
    values = {i: fmean(v) for i, line in enumerate(found) if (v := line.values(column))}
    if len(set(values.values())) < 2 or column.keys in _NOT_RANKED:
        return set()
    best = max(values.values()) if column.keys[0] == _HIGHER_IS_BETTER else min(values.values())
    return {i for i, v in values.items() if v == best}


def details(run: Run, label: str) -> dict[str, Any]:
    s = run.summary
    started = run.manifest.started
    return {
        "label": label,
        "short": f"{s.rounds.done} rounds, seed {s.seed}, {started or 'no date'}, {s.state}",
        "facts": _facts(run),
        "troubles": _troubles(s),
        "tables": [t for t in (_phases(s), _links(s), _bytes(s), _modules(s)) if t["rows"]],
        "scenario": run.manifest.scenario,
    }


def _facts(run: Run) -> list[tuple[str, str]]:
    m = run.manifest
    versions = ", ".join(f"{name} {version}" for name, version in sorted(m.packages.items()))
    return [
        (name, value)
        for name, value in (
            ("run", run.summary.run_id),
            ("folder", run.folder.name),
            ("command", " ".join(m.command)),
            ("machine", f"{m.platform}, {m.cpus} cores" if m.platform else ""),
            ("python", m.python),
            ("versions", versions),
            ("plan", m.plan_sha256),
        )
        if value
    ]


def _troubles(s: Summary) -> list[tuple[str, str]]:
    found = [("error", s.error)] if s.error else []
    found += [
        (f"round {r}", f"no full report of {', '.join(who)}")
        for r, who in s.accuracy.local.incomplete.items()
    ]
    found += [(f"round {m.round}", f"{m.node} missed {', '.join(m.missing)}") for m in s.missing]
    found += [("lost", f"{e.node} lost {e.child}: {e.reason}") for e in s.lost]
    found += [("warning", w) for w in s.warnings]
    if s.events.unreadable:
        found.append(("events", f"{s.events.unreadable} of {s.events.total} could not be read"))
    return found


def _phases(s: Summary) -> dict[str, Any]:
    return {
        "title": "Phases, over the whole run",
        "heads": ["tier", "phase", "times", "wall, s", "CPU, s", "energy, J"],
        "texts": 2,
        "note": "",
        "rows": [
            [p.tier, p.phase, p.times, f"{p.wall_s:.2f}", f"{p.cpu_s:.2f}", f"{p.energy_j:.2f}"]
            for p in s.phases
        ],
    }


def _links(s: Summary) -> dict[str, Any]:
    """Those that are furthest from the model first."""
    known = sorted(s.links, key=_distance, reverse=True)
    left = len(known) - _MOST_LINKS
    return {
        "title": "Links, over the whole run",
        "heads": ["from", "to", "kind", "purpose", "transfers", "MB", "measured, s", "modelled, s", "ratio"],
        "texts": 4,
        "note": f"and {left} more, nearer to the model: see summary.json" if left > 0 else "",
        "rows": [
            [
                t.src,
                t.dst,
                t.kind,
                t.purpose,
                t.transfers,
                f"{t.bytes / 1e6:.3f}",
                f"{t.measured_s:.3f}",
                "–" if t.modelled_s is None else f"{t.modelled_s:.3f}",
                "–" if t.ratio is None else f"{t.ratio:.3f}",
            ]
            for t in known[:_MOST_LINKS]
        ],
    }


def _distance(link: LinkTraffic) -> float:
    return max(link.ratio, 1 / link.ratio) if link.ratio else 0.0


def _bytes(s: Summary) -> dict[str, Any]:
    by = s.bytes
    rows = [["kind of link", name, f"{size / 1e6:.3f}"] for name, size in by.by_kind_bytes.items()]
    rows += [["module", name, f"{size / 1e6:.3f}"] for name, size in by.by_module_bytes.items()]
    return {
        "title": "Bytes on the wire, per round",
        "heads": ["by", "", "MB"],
        "texts": 2,
        "note": "A transfer counts once per hop, padding included.",
        "rows": rows,
    }


def _modules(s: Summary) -> dict[str, Any]:
    return {
        "title": "Final modules",
        "heads": ["holder", "module", "sha256"],
        "texts": 3,
        "note": "",
        "rows": [[holder, name, sha] for holder, found in s.modules.items() for name, sha in found.items()],
    }
