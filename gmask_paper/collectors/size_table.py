"""Table 5: statistics of the data sets, from the data."""

from __future__ import annotations

from pathlib import Path

from hydra import compose
from hydra.utils import instantiate

from gmask_paper.collector import METHOD, Collector
from gmask_paper.dataset_statistics import COLUMNS, statistics
from gmask_paper.paper_numbers import published, title
from gmask_paper.result_tables import Cell, ResultTable, Row, write_results
from gmask_paper.run_query import RunQuery
from gmask_pl.settings import checked
from gmask_pl.types import UserError


class StatisticsTable(Collector):
    """C, L, V and the sizes of the splits of every dataset, beside the paper's ``table``.

    There is nothing to run before: it reads the data, where the overrides say they are.
    """

    @checked
    def __init__(self, *, table: str, caption: str) -> None:
        self.table, self.caption = table, caption

    def __call__(self, query: RunQuery) -> list[Path]:
        rows = tuple(
            Row("", title("datasets", name), METHOD, self.cells(query, name))
            for name in query.swept["dataset"]
        )
        table = ResultTable(
            title=self.caption,
            stub=("", "dataset"),
            head=COLUMNS,
            rows=rows,
            digits=0,
            paper_digits=0,
            notes=(
                "C classes; L words of a sentence, over all splits; V distinct words of the "
                "training split; pairs of each split.",
            ),
        )
        return write_results(table, query.stem())

    def cells(self, query: RunQuery, name: str) -> tuple[Cell, ...]:
        printed = [str(value) for value in published(self.table, name) or [""] * len(COLUMNS)]
        own = [part for part in query.given if part.lstrip("+").startswith("dataset.")]
        try:
            source = instantiate(compose("explain", [f"dataset={name}", *own]).dataset)
            found = statistics(source)
        except UserError as error:
            return tuple(Cell(paper=value, reason=str(error)) for value in printed)
        counts = [
            None if n is None else f"{n:,}" for n in (found.vocabulary, *found.sizes.values())
        ]
        ours = [str(found.classes), f"{found.length:.1f}", *counts]
        return tuple(
            Cell(value, paper=paper, reason="" if value is not None else "no such split here")
            for value, paper in zip(ours, printed, strict=True)
        )
