"""The report of a run: one self-contained HTML page without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from gmask_pl.drawing.html import page
from gmask_pl.explanation import Explanation
from gmask_pl.files import write_text
from gmask_pl.metrics.presentation import Part, Presentation, presented
from gmask_pl.pipeline.report.figures import metric_figure
from gmask_pl.pipeline.report.result_files import (
    by_removal,
    independent,
    lines,
    meaningful,
    number,
    why_not,
)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One row of the table of metrics; ``detail`` rows break the one above down.

    hint: what a number may be, for who points at the name.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: float | None = None
    meaning: str = ""
    digits: int = 3
    detail: bool = False
    warning: str = ""
    hint: str = ""


def write_page(
    path: Path | str,
    *,
    title: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Any],
    explanations: Iterable[Explanation],
    labels: Sequence[str],
    max_pairs: int,
) -> Path:
    """Write the page: settings, metrics (Section 5.1), curves, and a card for each pair, see
    `gmask_pl.drawing.html.page`."""
    figures = [metric_figure(*one) for one in presented(metrics)]
    text = page(
        explanations,
        title=title,
        labels=labels,
        max_pairs=max_pairs,
        settings=settings,
        rows=_metric_rows(metrics),
        figures=[Markup(svg) for svg in figures if svg is not None],
    )
    return write_text(Path(path), text)


def _metric_rows(metrics: Mapping[str, Any]) -> list[MetricRow]:
    rows: list[MetricRow] = []
    for removal, scored in by_removal(metrics).items():
        rows += _scored_rows(scored, f" ({removal})")
    rows += _scored_rows(independent(metrics), "")
    rows += _model_rows(metrics)
    costs = (
        ("evaluations", "Model evaluations", "masked inputs answered, for one pair", 0),
        ("gradients", "… with gradients", "of these, how many were also differentiated", 0),
        ("seconds", "Seconds", "wall-clock time of one pair", 3),
    )
    for key, name, meaning, digits in costs:
        if (value := number(metrics, "cost", f"{key}_per_pair")) is not None:
            rows.append(MetricRow(name, value, meaning=meaning, digits=digits))
    return rows


def _scored_rows(metrics: Mapping[str, Any], removal: str) -> list[MetricRow]:
    """The rows of metrics; ``removal`` follows their names where there are several.

    A metric, single points of its curve, then what it breaks down into.
    """
    rows: list[MetricRow] = []
    for name, result, told in presented(metrics):
        drawn = lines(name, result, told)
        points = drawn[0].points if drawn else ()
        title = f"{told.title or name.replace('_', ' ')}{removal}"
        meaning = told.meaning.replace("{points}", str(len(points)))
        rows.append(_row(title, result, meaning, hint=told.hint))
        shown = told.plot.shown if told.plot else ()
        rows += [
            MetricRow(f"{told.plot.letter} = {x}", y, low, high, detail=True)
            for x, y, low, high in points
            if told.plot and x in shown
        ]
        rows += _parts(result, told)
    return rows


def _parts(metric: Mapping[str, Any], told: Presentation) -> list[MetricRow]:
    """What a metric breaks down into, where there is a value.

    That is every number with an interval of its own, such as iou_f1 with iou_f1_low and
    iou_f1_high, and every part of by_fraction, by_label and the like.
    """
    rows: list[MetricRow] = []
    known = {part.key: part for part in told.parts}
    for key, found in metric.items():
        if f"{key}_low" in metric:
            value, low, high = (number(metric, k) for k in (key, f"{key}_low", f"{key}_high"))
            part = known.get(key, Part(key))
            shown = part.title or key.replace("_", " ")
            rows.append(MetricRow(shown, value, low, high, meaning=part.meaning, detail=True))
        elif key.startswith("by_") and isinstance(found, Mapping):
            kind = key.removeprefix("by_")
            rows += [_row(f"{kind} {part}", found[part], detail=True) for part in found]
    return [row for row in rows if row.value is not None]


def _row(
    name: str, metric: Mapping[str, Any], meaning: str = "", detail: bool = False, hint: str = ""
) -> MetricRow:
    value, low, high, n = (number(metric, key) for key in ("value", "low", "high", "n"))
    warning = "" if meaningful(metric) else f"Not meaningful: {why_not(metric)}."
    return MetricRow(name, value, low, high, n, meaning, detail=detail, warning=warning, hint=hint)


def _model_rows(metrics: Mapping[str, Any]) -> list[MetricRow]:
    rows: list[MetricRow] = []
    accuracy, labelled = (number(metrics, "model", key) for key in ("accuracy", "n"))
    if accuracy is not None:
        meaning = "share of the pairs with a label that the model predicts right"
        rows.append(MetricRow("Model's accuracy", accuracy, n=labelled, meaning=meaning))
    if truncated := number(metrics, "model", "truncated"):
        meaning = "longer than the model reads: explained by what it read"
        rows.append(MetricRow("Truncated pairs", truncated, meaning=meaning, digits=0))
    failed = metrics.get("failed", {})
    meanings = {
        "reading": "lines of the split that hold no pair",
        "explaining": "pairs that could not be explained and are in no result",
        "scoring": "pairs whose explanation could not be scored",
    }
    for step, meaning in meanings.items():
        if reasons := failed.get(step):
            name, reason = next(iter(reasons.items()))
            told = f"{meaning}; the first is {name}: {reason}"
            rows.append(MetricRow(f"Failed in {step}", len(reasons), meaning=told, digits=0))
    return rows
