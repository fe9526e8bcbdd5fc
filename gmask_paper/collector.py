"""What every collector is, a query in, files out; and what those of explainers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from gmask_paper.paper_numbers import explainers, published, title
from gmask_paper.result_tables import Cell, ResultTable, Row
from gmask_paper.run_query import RunQuery
from gmask_paper.table_columns import Column, Entry, make_column
from gmask_pl.pipeline.hydra_setup import choices
from gmask_pl.pipeline.settings_schema import Explain
from gmask_pl.settings import Count, OneOf

METHOD, FLOOR, BOUND = "method", "floor", "bound"
MetricName = Annotated[str, OneOf(choices("metric"))]
ExplainerName = Annotated[str, OneOf(choices("explainer"))]


class Collect(Explain):
    """The settings of a collection: those of the runs, and of what is made of them."""

    archive: str | None
    beyond: Count | None
    collect: Collector  # type: ignore[misc]  # narrower than that of a run


class Collector(ABC):
    """Makes one table or figure of the runs that there are."""

    @abstractmethod
    def __call__(self, query: RunQuery) -> list[Path]:
        """Writes the result and returns its files."""


def columns_of(
    query: RunQuery, *, metric: str | None = None, removal: str | None = None
) -> list[Column]:
    """The column of every model and dataset that the query sweeps, empty ones included.

    Their runs are of the query's split, unit and ``pairs``; the number of pairs is theirs, less
    those that the query has ``seen``.
    """
    asked = {key: query.cfg[key] for key in ("split", "unit", "pairs")}
    runs = [run for run in query.runs if all(run.config[k] == v for k, v in asked.items())]
    return [
        make_column(
            runs,
            model,
            dataset,
            metric=metric,
            removal=removal,
            seen=query.seen.get((model, dataset), frozenset()),
        )
        for model in query.swept["model"]
        for dataset in query.swept["dataset"]
    ]


def missing(query: RunQuery, column: Column) -> tuple[list[str], str]:
    """The explainers of the query that a column lacks, and why, with the command to make them."""
    lacking = [name for name in query.swept["explainer"] if not column.of(name)]
    where = {"model": [column.model], "dataset": [column.dataset]}
    cell = (column.model, column.dataset)
    beside = [run for run in query.runs if (run.model, run.dataset) == cell]
    command = query.command("explain", where | {"explainer": lacking}, beside)
    there = {run.explainer for run in beside}
    how = ", or none with this metric on these pairs" if there & {*lacking} else ""
    return lacking, f"no run yet{how}: `{command}`"


def seeds_told(query: RunQuery, column: Column) -> list[str]:
    """How many seeds the entries of a column have that draw at random, and which are not there."""
    drawing = [entry for entry in column.entries if entry.runs[0].seeds]
    if not drawing:
        return []
    counts = sorted({len(entry.runs) for entry in drawing})
    told = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    by_seed: dict[str, list[str]] = {}
    for entry in drawing:
        there = {str(run.config.seed) for run in entry.runs}
        for seed in query.swept["seed"]:
            if seed not in there:
                by_seed.setdefault(seed, []).append(entry.label)
    missing = [f"seed {seed} of {', '.join(names)}" for seed, names in sorted(by_seed.items())]
    lines = [f"{told} seed{'s' * (counts != [1])} of each stochastic method"]
    return lines + [f"not there yet: {'; '.join(missing)}"] * bool(missing)


def in_order(query: RunQuery, names: Iterable[str], last: Sequence[str]) -> list[str]:
    """Explainers as the paper has them, then those of the sweep, then any other, then ``last``."""
    found = set(names)
    wanted = [*explainers(), *query.swept["explainer"], *sorted(found)]
    first = [name for name in dict.fromkeys(wanted) if name in found and name not in last]
    return first + [name for name in last if name in found]


def ordered(query: RunQuery, column: Column, last: Sequence[str]) -> list[Entry]:
    """The entries of a column in that order."""
    names = in_order(query, (entry.explainer for entry in column.entries), last)
    return [entry for name in names for entry in column.of(name)]


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
            if entry.label == name:
                return self.number(entry, self.printed(explainer))
        lacking, why = missing(query, self.column)
        reason = why if explainer in lacking else "no run with these settings"
        return Cell(paper=self.printed(explainer), reason=reason)


class ExplainerTable(Collector):
    """``floor``, ``bounds``: explainers that are set apart, come last and are never best."""

    def __init__(self, floor: Sequence[ExplainerName], bounds: Sequence[ExplainerName]) -> None:
        self.kinds = dict.fromkeys(floor, FLOOR) | dict.fromkeys(bounds, BOUND)
        self.apart = list(self.kinds)

    def kind(self, explainer: str) -> str:
        return self.kinds.get(explainer, METHOD)

    def rows(self, query: RunQuery, filled: Sequence[Filled], group: str = "") -> tuple[Row, ...]:
        """A row for every choice of settings that an explainer was run with, or one without any."""
        names = {entry.explainer for one in filled for entry in one.column.entries}
        rows: list[Row] = []
        for explainer in in_order(query, names | set(query.swept["explainer"]), self.apart):
            entries = [entry for one in filled for entry in one.column.of(explainer)]
            labels = dict.fromkeys(entry.label for entry in entries)
            for name in labels or [title("explainers", explainer)]:
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
