"""Table 7: seconds an explanation takes, and the model evaluations behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from gmask_paper.collector import (
    BOUND,
    FLOOR,
    METHOD,
    Collector,
    ExplainerName,
    columns_of,
    damaged,
    in_order,
    label,
    missing,
    seeds_told,
)
from gmask_paper.paper_numbers import published, title
from gmask_paper.result_tables import Cell, ResultTable, Row, write_results
from gmask_paper.run_query import Request
from gmask_paper.table_columns import Column, Entry
from gmask_pl.metrics.bootstrap import estimate
from gmask_pl.settings import Count, Seed, Whole, checked

SECONDS, EVALUATIONS = 0, 1  # of what a pair costs


class SecondsTable(Collector):
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
        self.table, self.caption, self.digits = table, caption, digits
        self.resamples, self.seed = resamples, seed
        self.apart = dict.fromkeys(floor, FLOOR) | dict.fromkeys(bounds, BOUND)

    def __call__(self, request: Request) -> list[Path]:
        columns, stem = columns_of(request), request.folder / request.name
        seconds = self.result(request, columns, self.caption, SECONDS, self.table)
        evaluations = self.result(request, columns, "Model evaluations a pair", EVALUATIONS, None)
        return [
            *write_results(seconds, stem),
            *write_results(evaluations, stem.with_name(f"{request.name}_evaluations")),
        ]

    def result(
        self,
        request: Request,
        columns: Sequence[Column],
        caption: str,
        reading: int,
        table: str | None,
    ) -> ResultTable:
        """The table of what is read of every explanation; ``table``: the paper's, if it has one."""
        rows: list[Row] = []
        for model in request.swept["model"]:
            mine = [column for column in columns if column.model == model]
            names = {e.explainer for c in mine for e in c.entries} | set(request.swept["explainer"])
            for name in in_order(request, names, list(self.apart)):
                labels = dict.fromkeys(label(e) for c in mine for e in c.of(name))
                rows += [
                    Row(
                        title("models", model),
                        shown,
                        self.apart.get(name, METHOD),
                        tuple(self.cell(request, c, name, shown, reading, table) for c in mine),
                    )
                    for shown in list(labels) or [title("explainers", name)]
                ]
        over = "pairs" if reading == EVALUATIONS else "batches, whose pairs share their seconds"
        notes = [f"Brackets: 95 % bootstrap interval over {over}; seeds averaged first."]
        for c in columns:
            told = [f"{c.pairs} pairs", *seeds_told(request, c), *c.notes] if c.entries else []
            notes += [
                f"{title('models', c.model)}, {title('datasets', c.dataset)}: {t}." for t in told
            ]
        notes += damaged(request)
        return ResultTable(
            title=caption,
            stub=("model", "explainer"),
            head=tuple(title("datasets", dataset) for dataset in request.swept["dataset"]),
            rows=tuple(rows),
            digits=0 if table is None else self.digits,
            paper_digits=2,
            notes=tuple(notes),
        )

    def cell(
        self,
        request: Request,
        column: Column,
        explainer: str,
        shown: str,
        reading: int,
        table: str | None,
    ) -> Cell:
        printed = None
        if table is not None:
            printed = published(table, column.model, explainer, column.dataset)
        entries = [entry for entry in column.of(explainer) if label(entry) == shown]
        if not entries:
            lacking, why = missing(request, column)
            reason = why if explainer in lacking else "no run with these settings"
            return Cell(paper=printed, reason=reason)
        return self.number(entries[0], reading, printed)

    def number(self, entry: Entry, reading: int, printed: float | None) -> Cell:
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
