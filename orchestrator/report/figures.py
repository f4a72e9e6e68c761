"""The figures of a report. Each draws what `groups.group` made of the runs; none knows where it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from orchestrator.record.accuracy import Series
from orchestrator.record.summary import Summary
from orchestrator.record.traffic import LinkTraffic
from orchestrator.report.bars import Bar, draw_bars, legend_of_parts
from orchestrator.report.canvas import Theme, clean, new_figure
from orchestrator.report.groups import Curve, Group
from orchestrator.report.palette import PART_NAMES, part_colour, strokes

_LABEL_GAP = 0.052  # least distance of two labels, as a share of the axis


def accuracy_figure(groups: Sequence[Group], theme: Theme) -> Figure:
    """Local and aggregated accuracy by round, one line per method, its label at the end of it."""
    figure = new_figure(10.4, 4.3)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.34})
    panels: list[tuple[Any, str, Callable[[Summary], Series]]] = [
        (left, "before aggregation (local)", lambda s: s.accuracy.local),
        (right, "after aggregation", lambda s: s.accuracy.aggregated),
    ]
    for axes, title, series_of in panels:
        clean(axes, theme, title, "round")
        _lines(axes, groups, series_of, theme)
    left.set_ylabel("accuracy, %", color=theme.soft)
    _baseline((left, right), groups, theme)
    figure.subplots_adjust(left=0.07, right=0.87, top=0.88, bottom=0.13)
    for axes, _, series_of in panels:
        _end_labels(axes, groups, series_of)
    return figure


def _lines(axes: Any, groups: Sequence[Group], of: Callable[[Summary], Series], theme: Theme) -> None:
    stroke = strokes([g.method for g in groups])
    drawn: list[Curve] = []
    for g in groups:
        curve = g.curve(of)
        if not curve:
            continue
        rounds, middle = [c[0] for c in curve], [100 * c[1] for c in curve]
        look = stroke[g.method]
        marker = "o" if len(curve) < 25 else ""
        dash = (0, (4, 4)) if any(_same(curve, other) for other in drawn) else look.dash  # both stay visible
        drawn.append(curve)
        axes.plot(rounds, middle, color=look.colour, linestyle=dash, linewidth=2, marker=marker,
                  markersize=3.4, solid_capstyle="round", zorder=3)  # fmt: skip
        if len(g.members) > 1:
            axes.fill_between(rounds, [100 * c[2] for c in curve], [100 * c[3] for c in curve],
                              color=look.colour, alpha=0.16, linewidth=0, zorder=2)  # fmt: skip
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(x=0.02)


def _same(one: Curve, other: Curve) -> bool:
    """Within a tenth of a per cent everywhere, so that one hides the other."""
    return len(one) == len(other) and all(abs(a[1] - b[1]) < 1e-3 for a, b in zip(one, other, strict=True))


def _baseline(panels: Sequence[Any], groups: Sequence[Group], theme: Theme) -> None:
    """Guessing from the question alone; the same for all methods on the same data."""
    levels = {round(b, 4) for g in groups if (b := g.mean(lambda s: s.accuracy.baseline)) is not None}
    for axes in panels:
        for level in levels:
            axes.axhline(100 * level, color=theme.soft, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        low, high = axes.get_ylim()
        axes.set_ylim(max(0, min([low, *(100 * x - 4 for x in levels)])), high)
    for level in levels:
        panels[0].annotate("question alone", (1, 100 * level), xycoords=("axes fraction", "data"), ha="right",
                           xytext=(-2, 3), textcoords="offset points", color=theme.soft, fontsize=8)  # fmt: skip


def _end_labels(axes: Any, groups: Sequence[Group], of: Callable[[Summary], Series]) -> None:
    stroke = strokes([g.method for g in groups])
    ends = [(100 * curve[-1][1], g) for g in groups if (curve := g.curve(of))]
    low, high = axes.get_ylim()
    places = spread([(y - low) / (high - low) for y, _ in ends], _LABEL_GAP)
    for place, (_, g) in zip(places, ends, strict=True):
        axes.annotate(g.title, (1, place), xycoords="axes fraction", xytext=(6, 0), va="center",
                      textcoords="offset points", color=stroke[g.method].colour, fontsize=8.5,
                      fontweight="bold")  # fmt: skip


def spread(places: Sequence[float], gap: float) -> list[float]:
    """The same places from 0 to 1, moved apart to at least `gap`, in the same order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [places[i] for i in order]
    for _ in range(200):
        for i, (a, b) in enumerate(pairwise(moved)):
            if b - a < gap:
                moved[i], moved[i + 1] = (a + b - gap) / 2, (a + b + gap) / 2
        if moved and moved[-1] > 1:
            moved[-1] = 1.0
    found = [0.0] * len(places)
    for i, place in zip(order, moved, strict=True):
        found[i] = place
    return found


def latency_figure(groups: Sequence[Group], theme: Theme) -> Figure:
    """Per method: the modelled seconds of a round, and below them the measured critical path by what it is
    spent on."""
    bars = [
        Bar(
            g.title,
            g.mean_parts(lambda s: s.latency_s.modelled_parts),
            g.mean_parts(lambda s: s.latency_s.measured_parts),
        )
        for g in groups
    ]
    figure = new_figure(10.4, 1.3 + 0.62 * len(bars))
    axes = figure.subplots()
    clean(axes, theme, "latency of a round: modelled (thin) and measured along the critical path", "seconds")
    draw_bars(axes, bars, theme, " s")
    legend_of_parts(figure, bars, theme)
    return figure


def energy_figure(groups: Sequence[Group], theme: Theme) -> Figure:
    """Sending by kind of link, modelled and measured; computing by phase. The two have scales of their own."""
    sending = [
        Bar(
            g.title,
            g.mean_parts(lambda s: s.energy_j.modelled_parts),
            g.mean_parts(lambda s: s.energy_j.measured_parts),
        )
        for g in groups
    ]
    computing = [Bar(g.title, {}, g.mean_parts(lambda s: s.energy_j.compute_parts)) for g in groups]
    figure = new_figure(10.4, 1.3 + 0.62 * len(groups))
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.08, "width_ratios": [3, 2]})
    clean(left, theme, "sending: modelled (thin) and measured", "joules per round")
    clean(right, theme, "computing", "joules per round")
    draw_bars(left, sending, theme, " J")
    draw_bars(right, computing, theme, " J")
    right.tick_params(labelleft=False)
    legend_of_parts(figure, [*sending, *computing], theme)
    return figure


@dataclass(frozen=True)
class _Dots:
    kind: str
    modelled_s: list[float]
    measured_s: list[float]

    @property
    def ratio(self) -> float:
        return median(b / a for a, b in zip(self.modelled_s, self.measured_s, strict=True))


def links_figure(groups: Sequence[Group], theme: Theme) -> Figure:
    """Every link of every run: mean seconds of its transfers, measured over modelled."""
    found = [t for g in groups for s in g.members for t in s.links if t.modelled_s and t.measured_s]
    dots = [_dots(kind, found) for kind in dict.fromkeys(t.kind for t in found)]
    figure = new_figure(6.4, 5.0)
    axes = figure.subplots()
    clean(axes, theme, "a transfer on each link", "modelled seconds")
    axes.set_ylabel("measured seconds", color=theme.soft)
    axes.grid(True, axis="both", color=theme.grid, linewidth=0.7)
    if dots:
        axes.set(xscale="log", yscale="log")
        ends = [x for d in dots for x in (*d.modelled_s, *d.measured_s)]
        low, high = min(ends) / 1.4, max(ends) * 1.4
        axes.plot([low, high], [low, high], color=theme.soft, linewidth=1, linestyle=(0, (2, 2)))
        axes.set(xlim=(low, high), ylim=(low, high))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_locator(NullLocator())
    for d in dots:
        axes.scatter(d.modelled_s, d.measured_s, s=20, color=part_colour(d.kind), alpha=0.75, linewidth=0,
                     label=f"{PART_NAMES.get(d.kind, d.kind)}  ×{d.ratio:.3g} (median)", zorder=3)  # fmt: skip
    if dots:
        axes.legend(frameon=False, labelcolor=theme.ink, fontsize=8.5, loc="upper left")
    figure.subplots_adjust(left=0.13, right=0.97, top=0.91, bottom=0.12)
    return figure


def _dots(kind: str, found: Sequence[LinkTraffic]) -> _Dots:
    same = [t for t in found if t.kind == kind]
    return _Dots(
        kind, [(t.modelled_s or 0) / t.transfers for t in same], [t.measured_s / t.transfers for t in same]
    )
