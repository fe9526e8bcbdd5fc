"""Runs side by side, as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gmask_pl.escaping import visible
from gmask_pl.pipeline.report.result_files import (
    by_removal,
    meaningful,
    number,
    why_not,
    without_words,
)

WORDS_SHOWN = (1, 2, 4, 10)
MISSING = "–"
WEAK = "*"
KNOWN = ("aopc", "post_hoc_accuracy", "degradation", "evidence")  # with columns of their own

Run = tuple[str, Mapping[str, Any]]


def format_table(runs: Sequence[Run]) -> str:
    """One aligned row for each run (name, metrics): the three metrics of Section 5.1 and the cost.

    n is the number of pairs scored. Brackets hold 95 % intervals; a dash stands for a metric
    that was not computed. ``above`` is post-hoc accuracy above what no words at all give. A metric
    that says of itself that it can tell nothing carries a star, with a note below; what the empty
    pair gives stands below, too. Where the pairs carry known evidence, the next columns are the
    shares of pairs whose best words are it, and whose most important word group holds it, and
    the AUPRC of the scores against it. Any further metric has a column under its own name.

    A run with several removals of the metrics has a row for each; what does not depend on the
    removal stands in the first.
    """
    runs = [row for run in runs for row in _row_for_each_removal(run)]
    runs = [(visible(name), metrics) for name, metrics in runs]
    head = ["run", "n", "AOPC", "post-hoc", "above"]
    head += [f"v={v}" for v in WORDS_SHOWN] + ["degradation", "evaluations", "seconds"]
    rows = [head] + [_row(name, metrics) for name, metrics in runs]
    if any("evidence" in metrics for _, metrics in runs):
        rows[0] += ["evidence", "top group", "AUPRC"]
        for row, (_, metrics) in zip(rows[1:], runs, strict=True):
            row += [
                _decimal(number(metrics, "evidence", key), 2)
                for key in ("value", "top_group", "auprc")
            ]
    for name in dict.fromkeys(name for _, metrics in runs for name in further(metrics)):
        rows[0].append(visible(name))
        for row, (_, metrics) in zip(rows[1:], runs, strict=True):
            row.append(_with_interval(metrics, name))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(_align(cell, i, widths[i]) for i, cell in enumerate(row)) for row in rows]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines + _notes(runs))


def independent(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What does not depend on which of several removals the metrics use."""
    apart = {"by_removal"}.union(*metrics["by_removal"].values())
    return {name: result for name, result in metrics.items() if name not in apart}


def further(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics that have no column of their own: whatever else has a value."""
    return [
        name
        for name, result in metrics.items()
        if name not in KNOWN and isinstance(result, Mapping) and "value" in result
    ]


def pairs_scored(metrics: Mapping[str, Any]) -> int | None:
    """The number of pairs behind the metrics: the largest n among them."""
    counts = [n for name in metrics if (n := number(metrics, name, "n")) is not None]
    return int(max(counts)) if counts else None


def _row_for_each_removal(run: Run) -> list[Run]:
    name, metrics = run
    parts = [(f"{name} ({removal})", scored) for removal, scored in by_removal(metrics).items()]
    if not parts:
        return [run]
    (first, scored), *others = parts
    return [(first, {**scored, **independent(metrics)}), *others]


def _row(name: str, metrics: Mapping[str, Any]) -> list[str]:
    accuracy = metrics.get("post_hoc_accuracy", {})
    return [
        name,
        _decimal(pairs_scored(metrics), 0),
        _with_interval(metrics, "aopc"),
        _decimal(number(accuracy, "value"), 3) + _mark(accuracy),
        _decimal(number(accuracy, "above_floor"), 3) + _mark(accuracy),
        *(_decimal(number(accuracy, "by_v", v - 1), 2) for v in WORDS_SHOWN),
        _with_interval(metrics, "degradation"),
        _decimal(number(metrics, "cost", "evaluations_per_pair"), 0),
        _decimal(number(metrics, "cost", "seconds_per_pair"), 3),
    ]


def _mark(result: Mapping[str, Any]) -> str:
    return "" if meaningful(result) else WEAK


def _with_interval(metrics: Mapping[str, Any], metric: str) -> str:
    mark = _mark(metrics.get(metric, {}))
    value, low, high = (number(metrics, metric, key) for key in ("value", "low", "high"))
    if low is None or high is None:
        return _decimal(value, 3) + mark
    return f"{_decimal(value, 3)}{mark} [{low:.3f}, {high:.3f}]"


def _decimal(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:,.{digits}f}"


def _align(cell: str, column: int, width: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def _notes(runs: Sequence[Run]) -> list[str]:
    """What the empty pair gives, once for all runs that say the same, and what can tell nothing."""
    floors: dict[str, list[str]] = {}
    weak = []
    for name, metrics in runs:
        scored = {key: result for key, result in metrics.items() if isinstance(result, Mapping)}
        told = {key: without_words(result) for key, result in scored.items()}
        if line := "; ".join(f"{key} {floor}" for key, floor in told.items() if floor):
            floors.setdefault(line, []).append(name)
        weak += [
            f"{WEAK} {name}: {key} is not meaningful: {why_not(result)}"
            for key, result in scored.items()
            if not meaningful(result)
        ]

    def shown(names: Sequence[str]) -> str:
        return "" if len(floors) == 1 else f" ({', '.join(names)})"

    lines = [f"without any word{shown(names)}: {line}" for line, names in floors.items()]
    return [""] * bool(lines or weak) + [visible(line) for line in lines + weak]
