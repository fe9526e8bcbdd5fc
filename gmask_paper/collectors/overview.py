"""Every metric of every explainer side by side, one table for each model and dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, Unpack

from gmask_paper.collector import Collector, MetricName, columns_of
from gmask_paper.collectors.score_table import Comparison, Scored, ScoreTable
from gmask_paper.result_tables import ResultTable, write_results
from gmask_paper.run_query import RunQuery
from gmask_pl.settings import checked


class Shown(TypedDict):
    """A column: its metric, and the paper's table."""

    metric: MetricName
    table: str


class Overview(Collector):
    """What ``ScoreTable`` says of single metrics, as the columns of one table.

    metrics: by the caption of a column, its ``metric`` and the paper's ``table``. The other
    settings are those of ScoreTable.
    """

    @checked
    def __init__(self, *, metrics: Mapping[str, Shown], **comparison: Unpack[Comparison]) -> None:
        self.parts = [
            ScoreTable(caption=caption, **column, **comparison)
            for caption, column in metrics.items()
        ]

    def __call__(self, query: RunQuery) -> list[Path]:
        by_metric = [
            [
                part.scored(query, column)
                for column in columns_of(query, metric=part.metric, removal=part.removal)
            ]
            for part in self.parts
        ]
        files: list[Path] = []
        for scored in zip(*by_metric, strict=True):
            column = scored[0].column
            stem = query.stem(f"_{column.dataset}_{column.model}")
            files += write_results(self.result(query, scored), stem)
        return files

    def result(self, query: RunQuery, scored: tuple[Scored, ...]) -> ResultTable:
        first, each = self.parts[0], list(zip(self.parts, scored, strict=True))
        notes = (note for part, one in each for note in part.notes(query, [one]))
        return ResultTable(
            title=scored[0].column.where,
            stub=("", "explainer"),
            head=tuple(part.caption for part in self.parts),
            rows=first.rows(query, [part.filled(one) for part, one in each]),
            digits=first.digits,
            paper_digits=3,
            notes=tuple(dict.fromkeys(notes)),
        )
