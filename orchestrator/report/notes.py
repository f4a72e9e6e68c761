"""The words around the comparison: what was in force, and how each figure is to be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from orchestrator.record.critical_path import ANSWER
from orchestrator.record.summary import Summary
from orchestrator.record.traffic import Energy
from orchestrator.report.groups import group
from orchestrator.report.labels import labels, printable
from orchestrator.report.window import mean_scores, window


class Note(NamedTuple):
    term: str
    text: str


_SHORT = {"tbf": "tbf (rate only; delay paced)"}


def headline(summaries: Sequence[Summary]) -> str:
    """One line: scenario, channel, links, where joules come from."""
    parts = [
        _all(s.scenario for s in summaries),
        f"channel {_all(s.channel for s in summaries)}",
        f"links {_all(_SHORT.get(s.links_backend, s.links_backend) for s in summaries)}",
        f"energy from {energy_sources(summaries)}",
        "TRAINING LEFT OUT" if any(s.training_left_out for s in summaries) else "",
        _all(s.security for s in summaries),
    ]
    return " · ".join(part for part in parts if part)


def energy_sources(summaries: Iterable[Summary]) -> str:
    named = {part for s in summaries for source in s.energy_j.source.values() for part in source.split(", ")}
    return ", ".join(sorted(named - {"none"})) or "none"


def _all(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(printable(name) for name in names))


def footnotes(summaries: Sequence[Summary]) -> list[Note]:
    """Only those that these rows need."""
    return [
        *_about_seeds(summaries),
        *_about_latency(summaries),
        *_about_energy(summaries),
        *_about_accuracy(summaries),
        *_about_links(summaries),
        *_about_refusals(summaries),
    ]


def _about_seeds(summaries: Sequence[Summary]) -> list[Note]:
    seeds = sorted({s.seed for g in group(summaries) if len(g.members) > 1 for s in g.members})
    if not seeds:
        return []
    return [Note("±", f"mean and standard deviation over seeds {', '.join(map(str, seeds))}")]


def _about_latency(summaries: Sequence[Summary]) -> list[Note]:
    found = []
    if any(s.latency_s.measured is not None for s in summaries):
        found = [
            Note("transfers", "critical path of the measured transfers: compare it with modelled"),
            Note("measured", "the same, with each device's own CPU time of training before its transfers"),
            Note("wall", "clock of the root; all processes share the cores of their machine"),
        ]
    if any((s.latency_s.install_s or 0) >= 0.005 for s in summaries):
        found.append(
            Note("not in it", "the way back to the devices, which this channel model does not price")
        )
    for s, label in zip(summaries, labels(summaries), strict=True):
        if not s.rounds.complete_period and s.rounds.done:
            text = (
                f"{s.rounds.done} rounds of a period of {s.rounds.period}: what comes later is not measured"
            )
            found.append(Note(label, text))
    if any(s.channel == "published" and s.method.startswith("edge-only") for s in summaries):
        found.append(
            Note("edge-only", "the published latency has 1/200 of the way to the cloud in each round")
        )
    return found


def _about_energy(summaries: Sequence[Summary]) -> list[Note]:
    found = [
        Note("energy", "of the links: seconds of sending times what the two ends draw, all links together")
    ]
    if any(s.published for s in summaries):
        found.insert(0, Note("published", "as printed, where figures were cut and not rounded"))
    if any(_answers_less(s.energy_j) for s in summaries):
        text = "the model prices one to every node; who holds the result already is sent none"
        found.append(Note("answers", text))
    if any(s.energy_j.compute is not None for s in summaries):
        sources = {s.energy_j.source.get("compute", "none") for s in summaries}
        text = f"of the nodes' work, evaluation included ({', '.join(sorted(sources))})"
        found.append(Note("compute", text))
    return found


def _answers_less(energy: Energy) -> bool:
    measured, modelled = (p.get(ANSWER, 0.0) for p in (energy.measured_parts, energy.modelled_parts))
    return energy.measured is not None and measured < 0.95 * modelled


def _about_refusals(summaries: Sequence[Summary]) -> list[Note]:
    """Who lied, or was broken: a result without some of its devices."""
    found = []
    for s, label in zip(summaries, labels(summaries), strict=True):
        peers = [one for one in s.refused if one.error in ("PayloadRefused", "PayloadCorrupt")]
        if peers:
            who = ", ".join(sorted({printable(one.peer or "a stranger") for one in peers}))
            out = ", ".join(sorted({printable(one.peer) for one in s.excluded}))
            text = f"{sum(one.count for one in peers)} payloads were refused, of {who}"
            found.append(Note(label, text + (f"; excluded: {out}" if out else "")))
    return found


def _about_accuracy(summaries: Sequence[Summary]) -> list[Note]:
    if any(s.training_left_out for s in summaries):
        return [
            Note("training", "left out: devices rested for its modelled time and sent noise of the same size")
        ]
    if not any(s.accuracy.local.last or s.accuracy.aggregated.last for s in summaries):
        return []
    counts = {len(m.rounds) for s in summaries if (m := mean_scores(s.accuracy.local, window(summaries)))}
    over = "the last round" if counts == {1} else f"the last {max(counts, default=1)} rounds"
    found = [
        Note("local", f"each device's model before aggregation, as published; mean over {over}"),
        Note("aggregated", "each device's model after aggregation, over the same rounds"),
    ]
    if any(s.accuracy.baseline is not None for s in summaries):
        found.append(Note("guess", "the most likely answer by the question alone"))
    for s, label in zip(summaries, labels(summaries), strict=True):
        if broken := len(s.accuracy.local.incomplete):
            found.append(Note(label, f"{broken} rounds left out, in which not every device reported"))
    return found


# What is to be known of measured seconds. 4.6 %: see node/wire/overhead.py.
_HEADERS = "headers of the network take 4.6 % beside the payload, modelled too"
_LINKS = {
    "none": "as fast as this machine can, not as the modelled links",
    "netem": f"real packets through tc netem of this kernel; {_HEADERS}; where packets are lost, TCP slows down by "
    "more than the modelled share of the rate",
    "uml": f"real packets through tc netem in a User-Mode Linux guest, in real time on one processor; {_HEADERS}",
    "lab": "real packets through tc netem in a guest whose clock jumps from event to event: seconds are virtual, "
    f"and computing takes its modelled time; {_HEADERS}",
    "tbf": "ONLY THE RATE is kept by the kernel (tc tbf), less what loss would take; delay and jitter are paced by "
    f"the sender, since this kernel has no netem or was not asked; {_HEADERS}",
}


def _about_links(summaries: Sequence[Summary]) -> list[Note]:
    backends = sorted({s.links_backend for s in summaries})
    found = [Note(f"links {backend}", _LINKS[backend]) for backend in backends if backend in _LINKS]
    padded = sorted({s.payload_bytes for s in summaries if s.payload_bytes is not None})
    if padded:
        real = ", ".join(f"{size / 1e6:.3g}" for size in sorted({s.module_bytes for s in summaries}))
        sizes = ", ".join(f"{size / 1e6:.3g}" for size in padded)
        found.append(Note("padding", f"modules of {real} MB travel as the modelled payload of {sizes} MB"))
    return found
