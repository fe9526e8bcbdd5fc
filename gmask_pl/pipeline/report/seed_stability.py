"""How stable the order of explainers is across what the metrics take removing a word to be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from gmask_pl.metrics.paired_tests import kendall_tau
from gmask_pl.pipeline.report.console_table import MISSING
from gmask_pl.pipeline.report.result_files import by_removal, number

ScoredRun = tuple[Sequence[str], Mapping[str, Any]]  # the overrides of a run and its metrics


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
