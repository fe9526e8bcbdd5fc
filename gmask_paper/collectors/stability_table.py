"""How much the order of explainers depends on what the metrics take removing a word to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from gmask_paper.collector import METHOD, Collector, ExplainerName, MetricName, columns_of, ordered
from gmask_paper.result_tables import Cell, ResultTable, Row, write_results
from gmask_paper.run_query import RunQuery
from gmask_paper.table_columns import Column, Entry
from gmask_pl.masking.masked_model import RemovalName
from gmask_pl.metrics.bootstrap import interval, numbers, resampled_averages
from gmask_pl.metrics.paired_tests import kendall_tau, seed_average
from gmask_pl.settings import Count, Seed, Whole, checked

NOTES = (
    "Kendall's tau-b between the orders of the explainers under two removals: 1 is the same order, "
    "0 no relation, -1 the opposite. Brackets: 95 % bootstrap interval over pairs, which are drawn "
    "once for all explainers and removals. A drawn order is noisier than the order itself, so the "
    "interval mostly reaches down further than up; where two explainers are nearly alike, most "
    "draws may order them the same way under both removals though all pairs do not, and the "
    "interval lie above the value. Neither the floor nor bounds take part.",
)


class StabilityTable(Collector):
    """Kendall's tau-b of the explainers' values between removals, by model and dataset.

    metrics: by the caption of a column. removals: every two of them are a row. apart: explainers
    that take no part. resamples of the intervals, and their seed.
    """

    @checked
    def __init__(
        self,
        *,
        caption: str,
        metrics: Mapping[str, MetricName],
        removals: Sequence[RemovalName],
        apart: Sequence[ExplainerName],
        digits: Whole,
        resamples: Count,
        seed: Seed,
    ) -> None:
        self.caption, self.metrics, self.digits = caption, dict(metrics), digits
        self.removals, self.apart = list(removals), list(apart)
        self.resamples, self.seed = resamples, seed

    def __call__(self, query: RunQuery) -> list[Path]:
        columns = {
            (metric, removal): columns_of(query, metric=metric, removal=removal)
            for metric in self.metrics.values()
            for removal in self.removals
        }
        rows, notes = [], list(NOTES)
        for i, column in enumerate(next(iter(columns.values()))):
            for one, two in combinations(self.removals, 2):
                found = [
                    self.cell(query, metric, columns[metric, one][i], columns[metric, two][i])
                    for metric in self.metrics.values()
                ]
                rows.append(Row(column.where, f"{one}, {two}", METHOD, tuple(found)))
            names = [entry.label for entry in self.entries(query, column)]
            notes.append(
                f"{column.where}: {column.pairs} pairs, {', '.join(names) or 'no explainer'}."
            )
        table = ResultTable(
            title=self.caption,
            stub=("model and dataset", "removals"),
            head=tuple(self.metrics),
            rows=tuple(rows),
            digits=self.digits,
            paper_digits=self.digits,
            notes=(*notes, *query.left_out),
        )
        return write_results(table, query.stem())

    def cell(self, query: RunQuery, metric: str, first: Column, second: Column) -> Cell:
        """Tau between two removals, over the explainers that both columns hold."""
        one, two = (self.tables(query, metric, column) for column in (first, second))
        names = [name for name in one if name in two]
        if len(names) < 2:
            return Cell(reason="fewer than two explainers are scored under both removals")
        if first.of_pairs != second.of_pairs:
            return Cell(reason="the explainers are scored on other pairs under the other removal")
        summary = first.entries[0].runs[0].metric_class(metric).summary
        both = [*(one[name] for name in names), *(two[name] for name in names)]
        width = both[0].shape[1]

        def values(averages: Tensor) -> Tensor:
            """The value of every explainer under both removals (..., 2, explainers)."""
            parts = [summary(part) for part in averages.split(width, dim=-1)]
            both: Tensor = torch.stack(parts, -1).unflatten(-1, (2, len(names)))
            return both

        rows = torch.cat(both, dim=1)
        drawn = resampled_averages(rows.numpy(), resamples=self.resamples, seed=self.seed)
        taus = torch.tensor(
            [kendall_tau(*pair) for pair in values(drawn).tolist()], dtype=torch.float64
        )
        low, high = interval(taus[:, None].numpy())
        whole = torch.tensor(kendall_tau(*values(rows.mean(0)).tolist()), dtype=torch.float64)
        value, bottom, top = numbers(torch.stack([whole, low[0], high[0]]))
        reason = "" if value is not None else "all explainers tie under a removal"
        return Cell(value, bottom, top, pairs=first.pairs, reason=reason)

    def tables(self, query: RunQuery, metric: str, column: Column) -> dict[str, Tensor]:
        """The rows (n, R) of every explainer that takes part."""
        return {
            entry.label: seed_average(entry.rows(metric, column.removal))
            for entry in self.entries(query, column)
        }

    def entries(self, query: RunQuery, column: Column) -> list[Entry]:
        found = ordered(query, column, self.apart)
        return [entry for entry in found if entry.explainer not in self.apart]
