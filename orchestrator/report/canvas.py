"""What all figures share: paper, ink, and the ways out as PNG and as SVG that follows the page's colours."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Theme:
    ink: str
    soft: str
    grid: str


PRINT = Theme(ink="#1f2933", soft="#6b7785", grid="#e3e7ec")
# Stand-ins that no palette uses: `svg_of` makes them the page's own colours, light or dark.
PAGE = Theme(ink="#010203", soft="#020304", grid="#030405")
_PAGE_COLOURS = {PAGE.ink: "var(--ink)", PAGE.soft: "var(--soft)", PAGE.grid: "var(--grid)"}

_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # names are not ours: `$` is no formula
    "svg.fonttype": "path",
    "svg.hashsalt": "hffm",  # the same figure, the same bytes
    "axes.titlesize": 10,
}


@contextmanager
def drawing() -> Iterator[None]:
    """To draw in. A name in a script that the font lacks shows boxes, and is no reason to fail."""
    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*[Gg]lyph .*")
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    figure = Figure(figsize=(width_in, height_in))
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0.0)
    return figure


def clean(axes: Any, theme: Theme, title: str, x_label: str) -> None:
    """Only what is read: a title, a faint grid, soft ticks."""
    axes.set_title(title, loc="left", color=theme.ink, fontweight="bold", pad=8)
    axes.set_xlabel(x_label, color=theme.soft)
    axes.patch.set_alpha(0.0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.soft)
    axes.tick_params(colors=theme.soft, length=0, pad=5, which="both")
    axes.grid(True, axis="y", color=theme.grid, linewidth=0.7)
    axes.set_axisbelow(True)


def write_png(figure: Figure, path: Path) -> None:
    path.write_bytes(png_of(figure, 160))


def png_of(figure: Figure, dpi: int) -> bytes:
    """On white paper."""
    out = io.BytesIO()
    figure.patch.set_alpha(1.0)
    figure.savefig(out, format="png", dpi=dpi, facecolor="white")
    return out.getvalue()


def svg_of(figure: Figure, name: str) -> str:
    """To stand in a page: text as outlines, no comments, ids of its own, the page's colours."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    for stand_in, colour in _PAGE_COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg
