"""Runs side by side, as plain text for a terminal, and how stable the order of explainers is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import Any

from gmask_pl.escaping import visible
from gmask_pl.metrics.paired_tests import kendall_tau
from gmask_pl.metrics.presentation import Presentation, presented
from gmask_pl.pipeline.report.result_files import (
    by_removal,
    independent,
    lines,
    meaningful,
    number,
    why_not,
    without_words,
)

MISSING = "–"
WEAK = "*"

Run = tuple[str, Mapping[str, Any]]
ScoredRun = tuple[Sequence[str], Mapping[str, Any]]  # the overrides of a run and its metrics


def format_table(runs: Sequence[Run]) -> str:
    """One aligned row for each run (name, metrics): its metrics and the cost.

    n is the number of pairs scored. Brackets hold 95 % intervals; a dash stands for a metric
    that this run has no value of. Which columns a metric has, it says itself
    (`metrics.presentation`). A metric that says of itself that it can tell nothing carries a star,
    with a note below; what the empty pair gives stands below, too.

    A run with several removals of the metrics has a row for each; what does not depend on the
    removal stands in the first.
    """
    runs = [row for run in runs for row in _row_for_each_removal(run)]
    runs = [(visible(name), metrics) for name, metrics in runs]
    columns = [["run", *(name for name, _ in runs)], *_columns([metrics for _, metrics in runs])]
    for column in columns:
        column.insert(1, "─" * max(map(len, column)))
    rows = list(zip(*columns, strict=True))
    return "\n".join(line.rstrip() for line in aligned(rows) + _notes(runs))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells in columns: the first to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])])
        for name, *cells in rows
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


def _columns(runs: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Each column: its heading, and the cell of every run."""
    metrics = {name: told for name, _, told in chain.from_iterable(map(presented, runs))}
    yield ["n", *(_decimal(pairs_scored(run), 0) for run in runs)]
    for name, told in sorted(metrics.items(), key=lambda one: one[1].place):
        yield from _metric_columns(name, told, runs)
    for cost, digits in (("evaluations", 0), ("seconds", 3)):
        spent = (number(run, "cost", f"{cost}_per_pair") for run in runs)
        yield [cost, *(_decimal(value, digits) for value in spent)]


def _metric_columns(
    name: str, told: Presentation, runs: Sequence[Mapping[str, Any]]
) -> Iterator[list[str]]:
    """The value, the parts that have a heading, and single points of the curves."""
    results = [run.get(name, {}) for run in runs]

    def cell(result: Mapping[str, Any], key: str, interval: bool = False) -> str:
        value, low, high = (number(result, part) for part in (key, "low", "high"))
        text = _decimal(value, told.digits) + ("" if meaningful(result) else WEAK)
        if not interval or low is None or high is None:
            return text
        return f"{text} [{low:.{told.digits}f}, {high:.{told.digits}f}]"

    yield [visible(told.heading or name), *(cell(r, "value", told.interval) for r in results)]
    for part in told.parts:
        if part.heading:
            yield [visible(part.heading), *(cell(result, part.key) for result in results)]
    if told.plot:
        drawn = [{x: y for x, y, _, _ in lines(name, r, told)[0].points} for r in results]
        for x in told.plot.shown:
            yield [f"{told.plot.letter}={x}", *(_decimal(ys.get(x), 2) for ys in drawn)]


def _decimal(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:,.{digits}f}"


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


def stability(runs: Sequence[ScoredRun]) -> list[str]:
    """Lines with Kendall's tau-b of the explainers' values under two removals, for each metric.

    Runs are compared that differ in explainer alone, two of them at least, all scored under the
    same removals. A dash stands for a tau that is undefined: a removal under which all tie, or
    fewer than two runs with a value. Empty when no runs can be compared.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for overrides, metrics in runs:
        setting = tuple(part for part in overrides if not part.startswith("explainer"))
        if scored := by_removal(metrics):
            groups.setdefault((*setting, *sorted(scored)), []).append(scored)
    compared = {setting: group for setting, group in groups.items() if len(group) > 1}
    common = set.intersection(*map(set, compared)) if len(compared) > 1 else set(*compared)
    lines = []
    for setting, group in compared.items():
        apart = " ".join(part for part in setting if part not in common)
        for one, two in combinations(group[0], 2):
            taus = ", ".join(f"{name} {_tau(group, name, one, two)}" for name in group[0][one])
            lines.append(f"{apart + ': ' if apart else ''}{one}, {two} ({len(group)} runs): {taus}")
    return ["Kendall τ of the order of explainers between removals", *lines] if lines else []


def _tau(group: Sequence[Mapping[str, Any]], metric: str, one: str, two: str) -> str:
    values = [
        (number(run, one, metric, "value"), number(run, two, metric, "value")) for run in group
    ]
    known = [pair for pair in values if None not in pair]
    if len(known) < 2:
        return MISSING
    tau = kendall_tau(*zip(*known, strict=True))
    return MISSING if math.isnan(tau) else f"{tau:.2f}"
