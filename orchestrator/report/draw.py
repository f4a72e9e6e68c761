"""The picture of a plan: nodes by role, clusters, and the links that carry updates, coloured by their rate."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.patheffects import withStroke

from node.errors import RunFolderError
from node.plan import CLUSTER_TIER, Link, LinkKind, Node, Plan, Role
from orchestrator.report.layout import Ground, Layout, layout, rounded_hull, used_links

_INK, _SOFT, _FAINT, _PAPER = "#1f2933", "#7b8794", "#e4e7eb", "#ffffff"
# Ten hues of equal weight (Tableau 10, its grey and yellow replaced).
_HUES = (
    "#4e79a7",
    "#f28e2b",
    "#59a14f",
    "#b07aa1",
    "#e15759",
    "#4aa3a0",
    "#c9a227",
    "#9c755f",
    "#d4739b",
    "#7a9e3b",
)
# Pale is slow, dark is fast: even steps of lightness, readable without colour vision.
_RATES = ListedColormap(matplotlib.colormaps["viridis_r"]([0.12 + 0.88 * i / 255 for i in range(256)]))
_DASHES: dict[LinkKind, Any] = {
    LinkKind.D2D: "-",
    LinkKind.UPLINK: (0, (4, 1.6)),
    LinkKind.BACKHAUL: (0, (1, 1.5)),
}
_NAMES = {LinkKind.D2D: "device to device", LinkKind.UPLINK: "uplink", LinkKind.BACKHAUL: "backhaul"}
_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN = 0.75, 1.15, 0.95, 0.95  # margins around the drawing


def save_drawing(plan: Plan, path: Path) -> None:
    """Writes png, svg or pdf, by the name of the file. Raises RunFolderError where it cannot."""
    try:
        topology_figure(plan).savefig(path, dpi=160, facecolor=_PAPER)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error).split(" (")[0]
        raise RunFolderError(f"{path}: cannot draw the topology: {why}; name a .png, .svg or .pdf") from error


def topology_figure(plan: Plan) -> Figure:
    placed, links = layout(plan), used_links(plan)
    with matplotlib.rc_context({"font.family": "DejaVu Sans", "font.size": 9}):
        figure, axes = _canvas(placed)
        norm = _norm(links)
        if placed.ground is not None:
            _draw_map(axes, placed.ground)
        _draw_clusters(axes, plan, placed)
        _draw_links(axes, placed, links, norm)
        for node in plan.nodes:
            _draw_node(axes, plan, node, placed)
        _write_title(figure, plan)
        _write_legend(figure, plan, links)
        _draw_scale(figure, norm)
    return figure


def _canvas(placed: Layout) -> tuple[Figure, Any]:
    """A figure whose axes fit what is drawn, in equal units both ways."""
    xs, ys = zip(*placed.points.values(), strict=True)
    ground = placed.ground
    if ground is not None:
        x, y, wide, tall = ground.left, ground.bottom, ground.span, 1.2 * ground.span
        inches = 7.6 / wide
    else:
        inches = min(1.35, 24.0 / (max(xs) - min(xs) + 1.2))
        wide = max(max(xs) - min(xs) + 1.2, 6.2 / inches)
        tall = max(ys) - min(ys) + 0.95
        x, y = (max(xs) + min(xs) - wide) / 2, min(ys) - 0.5
    size = (wide * inches + _LEFT_IN + _RIGHT_IN, tall * inches + _TOP_IN + _BOTTOM_IN)
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    box = (_LEFT_IN / size[0], _BOTTOM_IN / size[1], wide * inches / size[0], tall * inches / size[1])
    axes = figure.add_axes(box)
    axes.set(xlim=(x, x + wide), ylim=(y, y + tall), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure, axes


def _draw_map(axes: Any, ground: Ground) -> None:
    """The ground in metres."""
    left, bottom, span = ground.left, ground.bottom, ground.span
    axes.add_patch(Rectangle((left, bottom), span, span, facecolor="#f8fafb", zorder=-2))
    rows, columns = ground.lines(bottom), ground.lines(left)
    axes.vlines(columns, bottom, bottom + span, color=_FAINT, linewidth=0.7, zorder=-1)
    axes.hlines(rows, left, left + span, color=_FAINT, linewidth=0.7, zorder=-1)
    axes.set(xticks=columns, yticks=rows)
    axes.set_xlabel("metres", color=_SOFT)
    axes.tick_params(colors=_SOFT, length=0, pad=6)


def _parents(plan: Plan) -> list[str]:
    """The aggregators with devices right below them, each with a hue of its own."""
    return list(dict.fromkeys(str(d.parent) for d in plan.devices))


def _hue(plan: Plan, node: Node) -> str:
    parents = _parents(plan)
    near = str(node.parent) if node.role is Role.DEVICE else node.id
    return (
        _HUES[parents.index(near) % len(_HUES)] if near in parents and node.role is not Role.CLOUD else _INK
    )


def _draw_clusters(axes: Any, plan: Plan, placed: Layout) -> None:
    """A soft hull around the devices of each aggregator."""
    low, high = axes.get_xlim()
    pad = 0.024 * (high - low) if placed.ground else 0.24
    for parent in _parents(plan):
        if parent == plan.root.id and placed.ground is not None:
            continue
        members = [d for d in plan.devices if d.parent == parent]
        hull = rounded_hull([placed.points[m.id] for m in members], pad)
        hue = _hue(plan, members[0])
        axes.add_patch(
            Polygon(hull, closed=True, facecolor=hue, edgecolor="none", alpha=0.15, zorder=0, clip_on=False)
        )


def _norm(links: Sequence[Link]) -> LogNorm:
    """From round number to round number around the rates, and over a factor of 20 at least."""
    rates = [link.rate_bps / 1e6 for link in links] or [1.0]
    rates.append(19.9 * min(rates))
    steps = [
        s * 10.0**p
        for p in range(floor(log10(min(rates))) - 1, floor(log10(max(rates))) + 2)
        for s in (1, 2, 5)
    ]
    return LogNorm(max(s for s in steps if s <= min(rates)), min(s for s in steps if s > max(rates)))


def _draw_links(axes: Any, placed: Layout, links: Sequence[Link], norm: LogNorm) -> None:
    """Width and colour both grow with the logarithm of the rate; a pale rim keeps crossings apart."""
    for link in links:
        ends = list(zip(placed.points[link.src], placed.points[link.dst], strict=True))
        part = float(norm(link.rate_bps / 1e6))
        d2d = link.kind is LinkKind.D2D
        width = 1.2 + 2.0 * part if d2d else 0.9 + 1.2 * part
        rim = [withStroke(linewidth=width + 1.6, foreground=_PAPER)] if d2d else None
        axes.plot(*ends, color=_RATES(part), linewidth=width, linestyle=_DASHES[link.kind],
                  zorder=2.1 if d2d else 1.5, solid_capstyle="round", path_effects=rim)  # fmt: skip


def _draw_node(axes: Any, plan: Plan, node: Node, placed: Layout) -> None:
    """Numbered devices carry their number; everything else has its name beside it."""
    x, y = placed.points[node.id]
    device, hue = node.role is Role.DEVICE, _hue(plan, node)
    head = any(node.id == c.head for c in plan.clusters)
    size, marker = {Role.DEVICE: (105, "o"), Role.EDGE: (120, "s"), Role.CLOUD: (340, "h")}[node.role]
    rim, rim_width = (_INK, 2.0) if head or (node.role is Role.EDGE and hue != _INK) else (_PAPER, 1.0)
    axes.scatter(x, y, s=size + 35 * head, marker=marker, color=hue if hue != _INK or not device else _HUES[0],
                 edgecolor=rim, linewidth=rim_width, zorder=3.1 + 0.1 * (not device))  # fmt: skip
    number = node.id.removeprefix(f"{node.tier}-")
    if device and number.isdigit() and len(number) < 4:
        axes.text(x, y, number, ha="center", va="center_baseline", fontsize=6 if len(number) < 3 else 4.8,
                  color=_PAPER, fontweight="bold", zorder=4)  # fmt: skip
        return
    side = "top" if device else "bottom"
    offset, align = (0, -10 if device else 12 if node.role is Role.CLOUD else 9), "center"
    if node.role is Role.EDGE and placed.ground is None:  # beside the lines that come from above
        side, right = "center", x >= placed.points[str(node.parent)][0]
        offset, align = ((10, 0), "left") if right else ((-10, 0), "right")
    axes.annotate(
        node.id, (x, y), xytext=offset, zorder=4, textcoords="offset points", ha=align, va=side, color=_INK,
        fontsize=8, fontweight="normal" if device else "bold",
        path_effects=[withStroke(linewidth=2.4, foreground=_PAPER)],
    )  # fmt: skip


def _write_title(figure: Figure, plan: Plan) -> None:
    width, height = figure.get_size_inches()
    left = 0.3 / width
    figure.text(left, 1 - 0.32 / height, f"{plan.scenario}: {plan.method}", fontsize=13, fontweight="bold",
                color=_INK, va="center")  # fmt: skip
    text = f"{_rhythm(plan)}; {plan.channel} channel"
    figure.text(left, 1 - 0.6 / height, text, fontsize=8.5, color=_SOFT, va="center")


def _rhythm(plan: Plan) -> str:
    """When each tier averages, for the module that is averaged at most tiers."""
    periods = max((m.periods for m in plan.modules), key=len)
    names = {tier: "cluster heads" if tier == CLUSTER_TIER else tier for tier in periods}
    return ", ".join(
        f"{names[tier]} every {'round' if period == 1 else f'{period} rounds'}"
        for tier, period in periods.items()
    )


def _write_legend(figure: Figure, plan: Plan, links: Sequence[Link]) -> None:
    def dot(marker: str, size: float, rim: str, label: str, face: str = _SOFT) -> Line2D:
        return Line2D([], [], linestyle="", marker=marker, markersize=size, markerfacecolor=face,
                      markeredgecolor=rim, markeredgewidth=1.6, label=label)  # fmt: skip

    tiers = list(dict.fromkeys(n.tier for n in plan.nodes if n.role is Role.EDGE))
    entries = [dot("h", 13, _PAPER, plan.root.id, _INK)]
    entries += [dot("s", 9, _INK, ", ".join(tiers))] if tiers else []
    entries += [dot("o", 9, _PAPER, "device")]
    entries += [dot("o", 10, _INK, "head")] if plan.clusters else []
    for kind, name in _NAMES.items():
        if any(link.kind is kind for link in links):
            entries.append(Line2D([], [], color=_SOFT, linewidth=2, linestyle=_DASHES[kind], label=name))
    width, height = figure.get_size_inches()
    figure.legend(handles=entries, loc="center left", bbox_to_anchor=(0.2 / width, 0.24 / height),
                  ncols=len(entries), frameon=False, fontsize=8.5, labelcolor=_INK, handletextpad=0.5,
                  columnspacing=1.3)  # fmt: skip


def _draw_scale(figure: Figure, norm: LogNorm) -> None:
    width, height = figure.get_size_inches()
    tall = min(3.6, 0.8 * (height - _TOP_IN - _BOTTOM_IN))
    axes = figure.add_axes(
        (1 - 0.85 / width, (height - _TOP_IN - tall) / height, 0.13 / width, tall / height)
    )
    bar = figure.colorbar(matplotlib.cm.ScalarMappable(norm, _RATES), cax=axes)
    low, high = float(norm.vmin or 1), float(norm.vmax or 1)
    ticks = [
        s * 10.0**p for p in range(-6, 7) for s in (1, 2, 5) if 0.999 * low <= s * 10.0**p <= 1.001 * high
    ]
    bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    bar.ax.minorticks_off()
    bar.ax.tick_params(colors=_SOFT, length=2)
    bar.outline.set_visible(False)
    axes.set_title("Mbit/s", fontsize=8.5, color=_SOFT, pad=8)
