"""The words around the comparison: what was in force, and how each figure is to be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.labels import labels
from orchestrator.summary import Summary

_LINKS = {
    "paced": "paced (senders hold payloads to the modelled rates)",
    "none": "none (as fast as this machine can: measured seconds are not those of the modelled links)",
}


def headline(summaries: Sequence[Summary]) -> str:
    """One line: scenario, channel, links, where joules come from."""
    sources = {s.energy_j.source.get("measured", "none") for s in summaries} | {
        s.energy_j.source.get("compute", "none") for s in summaries
    }
    known = sorted({part for source in sources for part in source.split(", ")} - {"none"}) or ["none"]
    return " · ".join(
        [
            _all(s.scenario for s in summaries),
            f"channel {_all(s.channel for s in summaries)}",
            f"links {_all(s.links_backend for s in summaries)}",
            f"energy from {', '.join(known)}",
        ]
    )


def _all(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys("".join(c if c.isprintable() else "?" for c in n) for n in names))


def footnotes(summaries: Sequence[Summary]) -> list[str]:
    """Only those that these rows need."""
    found = [*_about_latency(summaries), *_about_energy(summaries), *_about_accuracy(summaries)]
    found += [f"links: {_LINKS[b]}." for b in sorted({s.links_backend for s in summaries}) if b in _LINKS]
    padded = sorted({s.payload_bytes for s in summaries if s.payload_bytes is not None})
    if padded:
        real = ", ".join(f"{size:,}" for size in sorted({s.module_bytes for s in summaries}))
        sizes = ", ".join(f"{size:,}" for size in padded)
        found.append(f"padding: the modules of a round, {real} bytes, travel padded to {sizes} bytes.")
    return found


def _about_latency(summaries: Sequence[Summary]) -> list[str]:
    found = [
        "latency: transfers is the critical path of the measured transfers, to compare with modelled; measured "
        "adds each device's own CPU time of training before its transfers; wall is the clock of the root, "
        "with all processes on the cores of this machine."
    ]
    if any(s.latency_s.install_s and s.latency_s.install_s >= 0.005 for s in summaries):
        found.append("not in it: the way back to the devices, which this channel model does not price.")
    for s, label in zip(summaries, labels(summaries), strict=True):
        if not s.rounds.complete_period:
            found.append(
                f"{label}: {s.rounds.done} of the {s.rounds.period} rounds of one period were run, so what "
                "happens once a period is missing from the measured figures."
            )
    if any(s.channel == "published" and s.method.startswith("edge-only") for s in summaries):
        found.append("edge-only: the published model adds a two-hundredth of the way to the cloud per round.")
    return found


def _about_energy(summaries: Sequence[Summary]) -> list[str]:
    if any(s.energy_j.measured is not None for s in summaries):
        return [
            "energy: modelled and measured are of sending (seconds x the link's power); compute is of the "
            "nodes' work, training and evaluation included."
        ]
    return ["energy: of sending (seconds x the link's power)."]


def _about_accuracy(summaries: Sequence[Summary]) -> list[str]:
    if not any(s.accuracy.local.last or s.accuracy.aggregated.last for s in summaries):
        return ["accuracy: no round was complete."]
    rounds = {s.accuracy.local.last_period.rounds for s in summaries if s.accuracy.local.last_period}
    counts = sorted({len(r) for r in rounds})
    over = "the last round" if counts == [1] else "the last period of rounds"
    found = [
        f"accuracy: of the devices' models over {over}, local before aggregation (as published), aggregated "
        "after; guess answers from the question alone."
    ]
    for s, label in zip(summaries, labels(summaries), strict=True):
        if broken := s.accuracy.local.incomplete:
            found.append(f"{label}: {len(broken)} rounds left out in which not every device reported.")
    return found
