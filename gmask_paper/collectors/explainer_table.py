"""What the tables of explainers share: explainers down, and columns of models and datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gmask_paper.collector import (
    BOUND,
    FLOOR,
    METHOD,
    Collector,
    ExplainerName,
    in_order,
    label,
    missing,
)
from gmask_paper.paper_numbers import published, title
from gmask_paper.result_tables import Cell, ResultTable, Row
from gmask_paper.run_query import RunQuery
from gmask_paper.table_columns import Column, Entry


@dataclass(frozen=True, slots=True)
class Filled:
    """A column and what fills it: ``number`` makes the cell of an entry, beside the paper's.

    table: of the paper; None where it has none.
    """

    column: Column
    number: Callable[[Entry, float | None], Cell]
    table: str | None

    def printed(self, explainer: str) -> float | None:
        """What the paper prints of an explainer."""
        if self.table is None:
            return None
        column = self.column
        found: float | None = published(self.table, column.model, explainer, column.dataset)
        return found

    def cell(self, query: RunQuery, explainer: str, name: str) -> Cell:
        """The cell of an explainer, called ``name`` with its settings; or why there is none."""
        for entry in self.column.of(explainer):
            if label(entry) == name:
                return self.number(entry, self.printed(explainer))
        lacking, why = missing(query, self.column)
        reason = why if explainer in lacking else "no run with these settings"
        return Cell(paper=self.printed(explainer), reason=reason)


class ExplainerTable(Collector):
    """``floor``, ``bounds``: explainers that are set apart, come last and are never best."""

    def __init__(self, floor: Sequence[ExplainerName], bounds: Sequence[ExplainerName]) -> None:
        self.kinds = dict.fromkeys(floor, FLOOR) | dict.fromkeys(bounds, BOUND)

    @property
    def apart(self) -> list[str]:
        """The explainers that come last."""
        return list(self.kinds)

    def kind(self, explainer: str) -> str:
        return self.kinds.get(explainer, METHOD)

    def rows(self, query: RunQuery, filled: Sequence[Filled], group: str = "") -> tuple[Row, ...]:
        """A row for every choice of settings that an explainer was run with, or one without any."""
        names = {entry.explainer for one in filled for entry in one.column.entries}
        rows: list[Row] = []
        for explainer in in_order(query, names | set(query.swept["explainer"]), self.apart):
            entries = [entry for one in filled for entry in one.column.of(explainer)]
            for name in dict.fromkeys(map(label, entries)) or [title("explainers", explainer)]:
                cells = tuple(one.cell(query, explainer, name) for one in filled)
                rows.append(Row(group, name, self.kind(explainer), cells))
        return tuple(rows)

    def by_model(
        self,
        query: RunQuery,
        filled: Sequence[Filled],
        *,
        caption: str,
        digits: int,
        paper_digits: int,
        notes: Sequence[str],
    ) -> ResultTable:
        """The models one below the other, the datasets side by side."""
        return ResultTable(
            title=caption,
            stub=("model", "explainer"),
            head=tuple(title("datasets", dataset) for dataset in query.swept["dataset"]),
            rows=tuple(
                row
                for model in query.swept["model"]
                for row in self.rows(
                    query,
                    [one for one in filled if one.column.model == model],
                    title("models", model),
                )
            ),
            digits=digits,
            paper_digits=paper_digits,
            notes=tuple(notes),
        )
