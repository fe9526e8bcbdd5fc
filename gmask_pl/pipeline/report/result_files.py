"""The metrics of a run as files: metrics.json and curves.csv."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gmask_pl.files import write_text
from gmask_pl.pipeline.damaged_folders import NUMBER, json_object, kept_to, reading
from gmask_pl.types import JSON, Unreadable

METRICS_FILE = "metrics.json"
CURVES_FILE = "curves.csv"
PAGE_FILE = "report.html"

_METRIC = {
    "meaningful": bool,
    "why": str,
    "empty": str,
    "parts": {...: str},
    **{name: [NUMBER] for name in ("by_v", "low_by_v", "high_by_v", "percent", "morf", "lerf")},
}
_SCORED = {...: _METRIC}
_RESULTS = {
    "model": {"weights": str, "accuracy": NUMBER, "n": int, "truncated": int},
    "failed": {...: {...: str}},
    "by_removal": dict,
    "scoring": {"removals": [str]},
    "pairs": str,  # in an archive
    ...: _METRIC,
}

Point = tuple[str, float, float | None, float | None, float | None]


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
        raise Unreadable(path, "no such file; run explain.py to make one")
    with reading(path, "; delete it, and run explain.py again"):
        metrics = json_object(path)
        check_results(metrics)
    return metrics


def check_results(metrics: JSON) -> None:
    """Raises ValueError where what metrics.json says has not the shape that a run gives it."""
    kept_to(_RESULTS, metrics)
    for name, scored in metrics.get("by_removal", {}).items():
        kept_to(_SCORED, scored, f"by_removal.{name}")
    model = metrics.get("model", {})
    if "weights" in model and not {"accuracy", "n"} <= model.keys():
        raise ValueError("model has no accuracy, or no n")
    accuracy = model.get("accuracy")
    if accuracy is not None and not 0 <= accuracy <= 1:  # NaN too
        raise ValueError(f"model.accuracy is {accuracy}, no share")


def write_curves(folder: Path | str, metrics: Mapping[str, Any]) -> Path:
    """Write curves.csv with columns curve, x, y, low, high; empty where there is no number.

    x is the number of words kept for post_hoc_accuracy and the percentage of words removed
    for morf and lerf (Eq. 10). Of several removals of the metrics, these are the first one's.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("curve", "x", "y", "low", "high"))
    writer.writerows(curve_points(metrics))
    return write_text(Path(folder) / CURVES_FILE, text.getvalue())


def curve_points(metrics: Mapping[str, Any]) -> Iterator[Point]:
    """The points (curve, x, y, low, high) of every curve that the metrics hold."""
    accuracy = metrics.get("post_hoc_accuracy", {})
    for v in range(1, len(accuracy.get("by_v", ())) + 1):
        y, low, high = (number(accuracy, key, v - 1) for key in ("by_v", "low_by_v", "high_by_v"))
        yield "post_hoc_accuracy", v, y, low, high
    degradation = metrics.get("degradation", {})
    for curve in ("morf", "lerf"):
        for i, percent in enumerate(degradation.get("percent", ())):
            yield curve, percent, number(degradation, curve, i), None, None


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
