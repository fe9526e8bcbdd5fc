"""The two curves of a run as inline SVG (Figures 3 and 4)."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gmask_pl.pipeline.report.result_files import meaningful, number

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


def accuracy_figure(metrics: Mapping[str, Any]) -> str | None:
    """Post-hoc accuracy by the number of kept words v, with its 95 % band (Figure 3).

    None when the metrics hold no such curve.
    """
    accuracy = metrics.get("post_hoc_accuracy", {})
    v = list(range(1, len(accuracy.get("by_v", ())) + 1))
    y = _curve(accuracy, "by_v", len(v))
    if not v:
        return None
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "post-hoc-accuracy"}):
        figure, axes = _axes("words kept, v", "post-hoc accuracy")
        low, high = (_curve(accuracy, key, len(v)) for key in ("low_by_v", "high_by_v"))
        axes.fill_between(v, low, high, color=GREEN, alpha=0.16, linewidth=0, label="95 % interval")
        axes.plot(v, y, "o-", color=GREEN, label="agrees with the whole pair")
        axes.set_xticks(v)
        axes.set_ylim(0, 1.03)
        axes.legend(loc="lower right")
        _mark(axes, accuracy)
        return _svg(figure, "Post-hoc accuracy by the number of words kept")


def degradation_figure(metrics: Mapping[str, Any]) -> str | None:
    """MoRF and LeRF curves by the percentage of words removed (Eq. 10, Figure 4).

    The area between them is the degradation score (Eq. 11). None when there is no curve.
    """
    degradation = metrics.get("degradation", {})
    percent = list(degradation.get("percent", ()))
    if number(degradation, "morf", 0) is None or number(degradation, "lerf", 0) is None:
        return None
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "degradation"}):
        figure, axes = _axes("words removed (%)", "normalised probability S (Eq. 10)")
        morf, lerf = (_curve(degradation, key, len(percent)) for key in ("morf", "lerf"))
        axes.fill_between(percent, morf, lerf, color=FAINT, alpha=0.55, linewidth=0)
        axes.plot(percent, lerf, "s-", color=BLUE, label="least relevant first (LeRF)")
        axes.plot(percent, morf, "o--", color=VERMILION, label="most relevant first (MoRF)")
        axes.set_xticks(range(0, 101, 20))
        bottom, top = axes.get_ylim()
        axes.set_ylim(min(bottom, 0), max(top, 1.03))
        axes.legend(loc="best")
        _mark(axes, degradation)
        return _svg(figure, "MoRF and LeRF curves by the percentage of words removed")


def _mark(axes: Axes, metric: Mapping[str, Any]) -> None:
    if not meaningful(metric):
        axes.set_title("not meaningful: see the table", color=VERMILION, fontsize=10.5)


def _curve(values: Mapping[str, Any], key: str, length: int) -> list[float]:
    found = (number(values, key, i) for i in range(length))
    return [float("nan") if y is None else y for y in found]


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _svg(figure: Figure, title: str) -> str:
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # Two figures share one page, so the only ids kept are those that the figure itself uses.
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: m[0] if m[1] in used else "", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
