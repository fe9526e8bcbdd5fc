"""Every metric of every explainer side by side, one table for each model and dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, Unpack

from gmask_paper.collector import Collector, MetricName, columns_of, in_order, label
from gmask_paper.collectors.score_table import Comparison, Scored, ScoreTable
from gmask_paper.paper_numbers import title
from gmask_paper.result_tables import ResultTable, Row, write_results
from gmask_paper.run_query import Request
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

    def __call__(self, request: Request) -> list[Path]:
        by_metric = [
            [
                part.scored(request, column)
                for column in columns_of(request, metric=part.metric, removal=part.removal)
            ]
            for part in self.parts
        ]
        files: list[Path] = []
        for scored in zip(*by_metric, strict=True):
            column = scored[0].column
            stem = request.folder / f"{request.name}_{column.dataset}_{column.model}"
            files += write_results(self.result(request, scored), stem)
        return files

    def result(self, request: Request, scored: tuple[Scored, ...]) -> ResultTable:
        first = self.parts[0]
        names = {entry.explainer for one in scored for entry in one.column.entries}
        names |= set(request.swept["explainer"])
        rows = []
        for explainer in in_order(request, names, first.apart):
            labels = [label(entry) for one in scored for entry in one.column.of(explainer)]
            rows += [
                Row(
                    group="",
                    name=name,
                    kind=first.kind(explainer),
                    cells=tuple(
                        part.cell(request, explainer, name, one)
                        for part, one in zip(self.parts, scored, strict=True)
                    ),
                )
                for name in list(dict.fromkeys(labels)) or [title("explainers", explainer)]
            ]
        notes = [
            note
            for part, one in zip(self.parts, scored, strict=True)
            for note in part.notes(request, [one])
        ]
        return ResultTable(
            title=scored[0].where,
            stub=("", "explainer"),
            head=tuple(part.caption for part in self.parts),
            rows=tuple(rows),
            digits=first.digits,
            paper_digits=3,
            notes=tuple(dict.fromkeys(notes)),
        )
