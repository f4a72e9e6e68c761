"""Stacked bars in pairs: modelled above, thin and pale; measured below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from orchestrator.report.canvas import Theme
from orchestrator.report.palette import PART_NAMES, PARTS, part_colour

_ORDER = list(PARTS)


@dataclass(frozen=True)
class Bar:
    label: str
    modelled: dict[str, float]
    measured: dict[str, float]


def draw_bars(axes: Any, bars: Sequence[Bar], theme: Theme, unit: str) -> None:
    """The first bar on top; totals at the ends."""
    both = any(b.modelled for b in bars)
    longest = max((sum(p.values()) for b in bars for p in (b.modelled, b.measured)), default=1.0) or 1.0
    for row, bar in enumerate(bars):
        if both:
            _stack(axes, row - 0.24, 0.17, bar.modelled, 0.5)
            _total(axes, row - 0.24, bar.modelled, theme.soft, 7.5, "normal", unit)
        _stack(axes, row + (0.09 if both else 0), 0.36, bar.measured, 1.0)
        _total(axes, row + (0.09 if both else 0), bar.measured, theme.ink, 9, "bold", unit)
    axes.set_yticks(range(len(bars)), [b.label for b in bars])
    axes.tick_params(axis="y", length=0, labelcolor=theme.ink, labelsize=9.5)
    axes.set(ylim=(len(bars) - 0.45, -0.55), xlim=(0, 1.16 * longest))
    axes.grid(True, axis="x", color=theme.grid, linewidth=0.7)
    axes.grid(False, axis="y")
    axes.spines["bottom"].set_visible(False)


def _in_order(parts: dict[str, float]) -> list[str]:
    return sorted(parts, key=lambda p: (_ORDER.index(p) if p in _ORDER else len(_ORDER), p))


def _stack(axes: Any, y: float, height: float, parts: dict[str, float], alpha: float) -> None:
    start = 0.0
    for part in _in_order(parts):
        axes.barh(y, parts[part], left=start, height=height, color=part_colour(part), alpha=alpha,
                  linewidth=0, zorder=3)  # fmt: skip
        start += parts[part]


def _total(
    axes: Any, y: float, parts: dict[str, float], colour: str, size: float, weight: str, unit: str
) -> None:
    if parts:
        total = sum(parts.values())
        digits = 0 if total >= 100 else 1 if total >= 10 else 2 if total >= 0.1 else 4
        axes.annotate(f"{total:.{digits}f}{unit}", (total, y), xytext=(4, 0), textcoords="offset points",
                      va="center_baseline", color=colour, fontsize=size, fontweight=weight, zorder=4)  # fmt: skip


def legend_of_parts(figure: Figure, bars: Sequence[Bar], theme: Theme) -> None:
    """Below the drawing, only what is in it; leaves room for the names of the methods."""
    parts = _in_order({p: 0.0 for b in bars for p in (*b.modelled, *b.measured)})
    handles = [Patch(color=part_colour(p), linewidth=0, label=PART_NAMES.get(p, p)) for p in parts]
    height = figure.get_size_inches()[1]
    left = min(0.3, 0.03 + 0.0082 * max((len(b.label) for b in bars), default=0))
    figure.subplots_adjust(left=left, right=0.985, top=1 - 0.38 / height, bottom=0.82 / height)
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(left - 0.012, 0.0), ncols=len(handles) or 1,
                  frameon=False, fontsize=8.5, labelcolor=theme.ink, handlelength=0.9, handleheight=0.9,
                  columnspacing=1.5)  # fmt: skip
