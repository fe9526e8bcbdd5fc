"""The curves of a run as inline SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from gmask_pl.escaping import html
from gmask_pl.metrics.presentation import Presentation
from gmask_pl.pipeline.report.result_files import lines, meaningful

# Okabe and Ito's palette: told apart under every common colour-vision deficiency.
GREEN, VERMILION, BLUE = "#00795c", "#d55e00", "#0072b2"
INK, FAINT = "#3c3a47", "#dddbe4"
SIZE_INCHES = (5.2, 3.3)

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # labels of others, such as $\\frac{
    "text.usetex": False,
    "font.size": 10.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.9,
    "lines.markersize": 5,
}


# Of a single curve, and of each of several.
_ALONE = ((GREEN, "o-"),)
_SEVERAL = ((VERMILION, "o--"), (BLUE, "s-"), (GREEN, "D-."), (INK, "^:"))


def metric_figure(name: str, result: Mapping[str, Any], told: Presentation) -> str | None:
    """The curves of a metric, as it describes them (Figures 3 and 4).

    None where it has none, or where one of them is not there.
    """
    plot, found = told.plot, lines(name, result, told)
    known = [any(y is not None for _, y, _, _ in line.points) for line in found]
    if plot is None or not all(known):
        return None
    looks = _ALONE if len(found) == 1 else _SEVERAL
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name.replace("_", "-")}):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.set_xlabel(plot.x.label)
        axes.set_ylabel(f"{plot.y} ({plot.equation})" if plot.equation else plot.y)
        drawn = [np.array(line.points, dtype=float).T for line in found]  # None is NaN
        if plot.area:
            (x, one, *_), (_, other, *_) = drawn[:2]
            axes.fill_between(x, one, other, color=FAINT, alpha=0.55, linewidth=0)
        for i in reversed(range(len(found))):
            x, y, low, high = drawn[i]
            color, style = looks[i % len(looks)]
            if not np.isnan(low).all():
                look: dict[str, Any] = {"color": color, "alpha": 0.16, "linewidth": 0}
                axes.fill_between(x, low, high, label="95 % interval", **look)
            axes.plot(x, y, style, color=color, label=found[i].label)
            if plot.letter:
                axes.set_xticks(x)
        if plot.range is not None:
            bottom, top = plot.range
            axes.set_ylim(bottom, top + 0.03 * (top - bottom))
        axes.legend(loc="lower right" if plot.letter else "best")
        if not meaningful(result):
            axes.set_title("not meaningful: see the table", color=VERMILION, fontsize=10.5)
        return _svg(figure, plot.title)


def _svg(figure: Figure, title: str) -> str:
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # Figures share one page, so the only ids kept are those that the figure itself uses.
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html(title)}"', 1)
