"""Plots as SVG text to stand inside HTML, the same bits for the same numbers.

Colours are left to the page: each is drawn as a stand-in that becomes a CSS variable, so that one
plot serves a light and a dark page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (4.0, 2.3)  # inches
TICKS = 6

INK, MUTED = "#010203", "#010204"
VARIABLES = {INK: "--ink", MUTED: "--muted"}

STYLE: Any = {
    "svg.hashsalt": "rlexp",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Plot:
    """A drawing, and its title for the caption and for those who cannot see it."""

    title: str
    svg: str


def draw_svg(title: str, fill: Callable[[Axes], None], colours: Mapping[str, str]) -> Plot:
    """Draw a plot of the page's size; `fill` draws with stand-ins for the page's colours."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y", color=MUTED, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        fill(axes)
        return Plot(title, as_svg(figure, colours))


def as_svg(figure: Figure, colours: Mapping[str, str]) -> str:
    """Return a figure as SVG for HTML; to be called with matplotlib's settings as in `STYLE`."""
    drawn = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    return _for_html(drawn.getvalue(), {**VARIABLES, **colours})


def _for_html(svg: str, colours: Mapping[str, str]) -> str:
    """Strip what HTML does not want: prologue, namespaces, metadata, group names, fixed size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'^<svg ([^>]*?)width="[^"]*" ?', r"<svg \1", svg)
    svg = re.sub(r'^<svg ([^>]*?)height="[^"]*" ?', r"<svg \1", svg)
    for colour, variable in colours.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg
