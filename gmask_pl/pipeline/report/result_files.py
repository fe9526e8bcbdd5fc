"""The metrics of a run as files: metrics.json and curves.csv."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gmask_pl.command_names import command_name
from gmask_pl.escaping import visible
from gmask_pl.files import write_text
from gmask_pl.identity.parts import KIND
from gmask_pl.metrics.presentation import Presentation, presented
from gmask_pl.pipeline.damaged_folders import NUMBER, json_object, kept_to, reading
from gmask_pl.types import JSON, Unreadable

METRICS_FILE = "metrics.json"
CURVES_FILE = "curves.csv"
PAGE_FILE = "report.html"

_METRIC = {"meaningful": bool, "why": str, "empty": str, KIND: str}
_SCORED = {...: _METRIC}
_RESULTS = {
    "model": {"weights": str, "accuracy": NUMBER, "n": int, "truncated": int},
    "failed": {...: {...: str}},
    "by_removal": dict,
    "scoring": {"removals": [str]},
    "question": str,  # other than why the predicted class
    "pairs": str,  # in an archive
    ...: _METRIC,
}


def write_metrics(folder: Path | str, metrics: Mapping[str, Any]) -> Path:
    """Write metrics.json: strict JSON with sorted keys, null for what is not finite."""
    text = json.dumps(
        _finite(metrics), allow_nan=False, ensure_ascii=False, indent=2, sort_keys=True
    )
    return write_text(Path(folder) / METRICS_FILE, text + "\n")


def read_metrics(folder: Path | str) -> JSON:
    """Read metrics.json back. Raises Unreadable when there is none, or it is damaged."""
    path = Path(folder) / METRICS_FILE
    if not path.exists():
        raise Unreadable(path, f"no such file; run {command_name('explain')} to make one")
    with reading(path, f"; delete it, and run {command_name('explain')} again"):
        metrics = json_object(path)
        check_results(metrics)
    return metrics


def check_results(metrics: JSON) -> None:
    """Raises ValueError where what metrics.json says has not the shape that a run gives it."""
    kept_to(_RESULTS, metrics)
    _check_curves(metrics)
    for name, scored in metrics.get("by_removal", {}).items():
        kept_to(_SCORED, scored, f"by_removal.{name}")
        _check_curves(scored, f"by_removal.{name}")
    model = metrics.get("model", {})
    if "weights" in model and not {"accuracy", "n"} <= model.keys():
        raise ValueError("model has no accuracy, or no n")
    accuracy = model.get("accuracy")
    if accuracy is not None and not 0 <= accuracy <= 1:  # NaN too
        raise ValueError(f"model.accuracy is {accuracy}, no share")


def _check_curves(metrics: JSON, where: str = "") -> None:
    for name, result, told in presented(metrics):
        for curve in told.plot.curves if told.plot else ():
            lists = {key: [NUMBER] for key in (curve.key, curve.low, curve.high) if key}
            kept_to(lists, dict(result), f"{where}.{name}".lstrip("."))


def write_curves(folder: Path | str, metrics: Mapping[str, Any]) -> Path:
    """Write curves.csv."""
    return write_text(Path(folder) / CURVES_FILE, curves_text(metrics))


def curves_text(metrics: Mapping[str, Any]) -> str:
    """The curves as CSV with columns curve, x, y, low, high; empty where there is no number.

    x is what the metric of a curve says: the number of words kept for post_hoc_accuracy, the
    percentage of words removed for morf and lerf (Eq. 10). Of several removals of the metrics,
    these are the first one's.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("curve", "x", "y", "low", "high"))
    for name, result, told in presented(metrics):
        for line in lines(name, result, told):
            writer.writerows((visible(line.name), *point) for point in line.points)
    return text.getvalue()


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a result: ``points`` are (x, y, low, high), None where there is no number."""

    name: str
    label: str
    points: tuple[tuple[float, float | None, float | None, float | None], ...]


def lines(name: str, result: Mapping[str, Any], told: Presentation) -> list[Line]:
    """The curves of a metric, as it says of itself."""
    if (plot := told.plot) is None:
        return []
    found = []
    for curve in plot.curves:
        n = len(result.get(curve.key, ()))
        keys = (curve.key, curve.low, curve.high)
        columns = ([number(result, key, i) for i in range(n)] for key in keys)
        points = tuple(zip(plot.x.at(n), *columns, strict=True))
        found.append(Line(curve.name or name, curve.label, points))
    return found


def independent(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What does not depend on which of several removals the metrics use."""
    apart = {"by_removal"}.union(*metrics.get("by_removal", {}).values())
    return {name: result for name, result in metrics.items() if name not in apart}


def by_removal(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The metrics of each of several removals, in the order they were asked for; else empty."""
    found: Mapping[str, Mapping[str, Any]] = metrics.get("by_removal", {})
    order = metrics.get("scoring", {}).get("removals", found)  # metrics.json sorts its keys
    return {removal: found[removal] for removal in order if removal in found}


def number(values: Any, *keys: str | int) -> float | None:
    """The finite number found by following keys and indices; None where there is none."""
    for key in keys:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return None
    return float(values) if isinstance(values, int | float) and math.isfinite(values) else None


def meaningful(result: Mapping[str, Any]) -> bool:
    """Whether a metric can tell anything, as its result says: one that says nothing does."""
    return bool(result.get("meaningful", True))


def why_not(result: Mapping[str, Any]) -> str:
    """Why a metric is not meaningful, as its result says."""
    return str(result.get("why") or "its result does not say why")


def without_words(result: Mapping[str, Any]) -> str:
    """What the empty pair gives, as in `floor 0.331 [0.270, 0.395]`; empty where it is not told."""
    name = str(result.get("empty", ""))
    value, low, high = (number(result, f"{name}{end}") for end in ("", "_low", "_high"))
    if not name or value is None:
        return ""
    ends = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"{name.replace('_', ' ')} {value:.3f}{ends}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
