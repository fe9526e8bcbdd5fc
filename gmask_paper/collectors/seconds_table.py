"""Table 7: seconds an explanation takes, and the model evaluations behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from gmask_paper.collector import ExplainerName, ExplainerTable, Filled, columns_of, seeds_told
from gmask_paper.result_tables import Cell, ResultTable, write_results
from gmask_paper.run_query import RunQuery
from gmask_paper.table_columns import Column, Entry
from gmask_pl.metrics.bootstrap import estimate
from gmask_pl.settings import Count, Seed, Whole, checked

SECONDS, EVALUATIONS = 0, 1  # of what a pair costs


class SecondsTable(ExplainerTable):
    """Mean wall-clock seconds a pair, beside the paper's ``table``, and a table of evaluations.

    Seconds are the pair's share of its batch, on whatever machine made the run. So what varies is a
    batch, and the interval of seconds resamples these; of a single batch there is none.
    """

    @checked
    def __init__(
        self,
        *,
        table: str,
        caption: str,
        digits: Whole,
        resamples: Count,
        seed: Seed,
        floor: Sequence[ExplainerName],
        bounds: Sequence[ExplainerName],
    ) -> None:
        super().__init__(floor, bounds)
        self.table, self.caption, self.digits = table, caption, digits
        self.resamples, self.seed = resamples, seed

    def __call__(self, query: RunQuery) -> list[Path]:
        columns = columns_of(query)
        seconds = self.result(query, columns, self.caption, SECONDS, self.table)
        evaluations = self.result(query, columns, "Model evaluations a pair", EVALUATIONS, None)
        return [
            *write_results(seconds, query.stem()),
            *write_results(evaluations, query.stem("_evaluations")),
        ]

    def result(
        self,
        query: RunQuery,
        columns: Sequence[Column],
        caption: str,
        reading: int,
        table: str | None,
    ) -> ResultTable:
        """The table of what is read of every explanation; ``table``: the paper's, if it has one."""
        over = "pairs" if reading == EVALUATIONS else "batches, whose pairs share their seconds"
        notes = [f"Brackets: 95 % bootstrap interval over {over}; seeds averaged first."]
        for c in columns:
            told = [f"{c.pairs} pairs", *seeds_told(query, c), *c.notes] if c.entries else []
            notes += [f"{c.where}: {t}." for t in told]
        return self.by_model(
            query,
            [Filled(column, partial(self.number, reading), table) for column in columns],
            caption=caption,
            digits=0 if table is None else self.digits,
            paper_digits=2,
            notes=[*notes, *query.left_out],
        )

    def number(self, reading: int, entry: Entry, printed: float | None) -> Cell:
        """The mean over pairs of the mean over seeds."""
        runs = [[cost[reading] for cost in costs] for costs in entry.costs]
        if any(map(math.isnan, chain.from_iterable(runs))):
            return Cell(paper=printed, reason="not measured: answers came from other runs")
        pairs = torch.tensor(runs, dtype=torch.float64)
        rows = totals(pairs) if reading == EVALUATIONS else by_batch(pairs)
        found = estimate(
            rows,
            lambda means: means[..., :1] / means[..., 1:],
            resamples=self.resamples,
            seed=self.seed,
        ).headline()
        if len(rows) == 1:
            found |= {"low": None, "high": None}
        learnt = entry.runs[0].metrics.get("preparation", {})
        told = ", ".join(f"{k} {v:g}" for k, v in learnt.items() if type(v) in (int, float))
        return Cell(
            found["value"],
            found["low"],
            found["high"],
            printed,
            pairs=pairs.shape[1],
            seeds=len(runs),
            reason=f"learnt from training pairs before: {told}" if told else "",
        )


def totals(costs: Tensor) -> Tensor:
    """Of every pair what it costs, the mean over seeds, and that it is one: (pairs, 2).

    costs (seeds, pairs).
    """
    mean = costs.mean(0)
    return torch.stack([mean, torch.ones_like(mean)], 1)


def by_batch(seconds: Tensor) -> Tensor:
    """`totals` of whole batches: a pair has its share of its batch, so those of one are alike."""
    _, batch = seconds.unique(dim=1, return_inverse=True)
    rows = seconds.new_zeros(int(batch.max()) + 1, 2)
    return rows.index_add(0, batch, totals(seconds))
