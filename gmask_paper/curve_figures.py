"""The curves of many explainers side by side, as PNG and SVG (Figures 3 and 4)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gmask_pl.escaping import visible
from gmask_pl.files import whole_file
from gmask_pl.pipeline.report.figures import STYLE

# The five of the paper and our own in Okabe and Ito's palette, all others in muted colours.
_OWN = {
    "LIME": "#e69f00",
    "L2X": "#56b4e9",
    "IBA": "#cc79a7",
    "IMASK": "#0072b2",
    "GMASK": "#d55e00",
    "gmask_two_sided": "#009e73",
}
_MUTED = ("#6a9f58", "#967662", "#a87c9f", "#85b6b2", "#b8b0ac", "#8a8d00", "#e15759", "#4e79a7")
_MARKERS = "os^vDPX*<>phd"
_ENTRY_INCHES = 0.2  # of the legend
_FLOOR, _BOUNDS = "#7f7f7f", ("#111111", "#55525f")


@dataclass(frozen=True, slots=True)
class Curve:
    """y at every x with its 95 % band; ``kind`` is method, floor or bound."""

    name: str
    kind: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves under a title; ``reason`` says why there are none."""

    title: str
    curves: tuple[Curve, ...]
    reason: str


def draw_panels(rows: Sequence[Sequence[Panel]], stem: Path, *, x: str, y: str) -> list[Path]:
    """Draw a grid of panels with one legend into stem.png and stem.svg; return their paths."""
    kinds = {c.name: c.kind for row in rows for panel in row for c in panel.curves}
    look = looks(kinds)
    wide, high = max(map(len, rows)), len(rows)
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": stem.name, "lines.markersize": 3.5}):
        height = max(2.9 * high + 0.4, _ENTRY_INCHES * (len(kinds) + 1))
        figure = Figure(figsize=(3.4 * wide + 2.2, height), layout="constrained")
        grid = figure.subplots(high, wide, squeeze=False, sharex=True, sharey=True)
        for i, row in enumerate(rows):
            for j in range(wide):
                axes = grid[i][j]
                if j >= len(row):
                    axes.set_axis_off()
                    continue
                _draw(axes, row[j], look)
                axes.set_xlabel(x if i == high - 1 else "")
                axes.set_ylabel(y if j == 0 else "")
        if kinds:
            handles = [_sample(look[name], name) for name in kinds]
            figure.legend(handles=handles, loc="outside right center", fontsize=9)
        return save(figure, stem)


def looks(kinds: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of every curve, no two alike: the paper's and our own stand out.

    kinds: of the curves, by their names.
    """
    found: dict[str, dict[str, Any]] = {}
    muted = bounds = 0
    for i, (name, kind) in enumerate(kinds.items()):
        if kind == "floor":
            found[name] = {"color": _FLOOR, "linestyle": "--", "linewidth": 1.6}
        elif kind == "bound":
            color = _BOUNDS[bounds % len(_BOUNDS)]
            found[name] = {"color": color, "linestyle": ":", "linewidth": 1.6}
            bounds += 1
        else:
            own = _own(name)
            color = own or _MUTED[muted % len(_MUTED)]
            muted += own is None
            found[name] = {
                "color": color,
                "marker": _MARKERS[i % len(_MARKERS)],
                "linestyle": "-" if own or muted <= len(_MUTED) else "-.",
                "linewidth": 1.9 if own else 1.0,
            }
    return found


def save(figure: Figure, stem: Path) -> list[Path]:
    """stem.png and stem.svg, the same bytes for the same figure."""
    png, svg = stem.with_suffix(".png"), stem.with_suffix(".svg")
    look: Any = {"facecolor": "white"}
    with whole_file(png) as draft:
        figure.savefig(draft, format="png", dpi=160, metadata={"Software": None}, **look)
    with whole_file(svg) as draft:
        figure.savefig(draft, format="svg", metadata={"Date": None, "Creator": None}, **look)
    return [png, svg]


def _sample(look: dict[str, Any], name: str) -> Any:
    """A sample of a line for the legend."""
    shown = visible(name)  # matplotlib leaves out what begins with _
    return Line2D([], [], label=f" {shown}" if shown.startswith("_") else shown, **look)


def _draw(axes: Axes, panel: Panel, looks: dict[str, dict[str, Any]]) -> None:
    axes.set_title(visible(panel.title), fontsize=10)
    if panel.reason:
        text = "\n".join(textwrap.wrap(visible(panel.reason).replace("`", ""), 34))
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=7, transform=axes.transAxes)
    for curve in panel.curves:
        look = looks[curve.name]
        own = _own(curve.name) is not None
        shade = {"color": look["color"], "alpha": 0.14 if own else 0.06, "linewidth": 0}
        axes.fill_between(curve.x, curve.low, curve.high, **shade)
        axes.plot(curve.x, curve.y, zorder=3 if own else 2.5, **look)


def _own(name: str) -> str | None:
    """The colour of an explainer that stands out, whatever settings follow its name."""
    return _OWN.get(name.split(" (")[0])
