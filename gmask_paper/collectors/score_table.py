"""Tables 2 and 4: a metric of every explainer, with intervals and paired tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

from torch import Tensor

from gmask_paper.collector import (
    BOUND,
    METHOD,
    ExplainerName,
    ExplainerTable,
    Filled,
    MetricName,
    columns_of,
    ordered,
    seeds_told,
)
from gmask_paper.comparisons import write_comparisons
from gmask_paper.result_tables import Cell, ResultTable, write_results
from gmask_paper.run_query import RunQuery
from gmask_paper.table_columns import Column, Entry
from gmask_pl.masking.masked_model import RemovalName
from gmask_pl.metrics.bootstrap import estimate
from gmask_pl.metrics.paired_tests import Difference, compare, rivals_of_the_best, seed_average
from gmask_pl.pipeline.report.result_files import meaningful, why_not, without_words
from gmask_pl.settings import Count, Seed, Share, Whole, checked
from gmask_pl.types import JSON, UserError

WEAK = "°"


@dataclass(frozen=True, slots=True)
class Scored:
    """A column with the numbers of each pair, (n, R) by the label of an entry, and its tests."""

    column: Column
    tables: dict[str, Tensor]
    differences: list[Difference]
    best: set[str]


class Comparison(TypedDict):
    """How explainers are compared, in any number of tables (see ScoreTable)."""

    digits: Whole
    removal: RemovalName | None
    level: Share
    resamples: Count
    permutations: Count
    seed: Seed
    floor: Sequence[ExplainerName]
    bounds: Sequence[ExplainerName]


class ScoreTable(ExplainerTable):
    """A metric by model, explainer and dataset, beside the paper's ``table``.

    removal: of the metric; None is the first that each run was scored under. level: a difference
    with a corrected p below it is significant. resamples of the intervals, permutations of the
    tests, seed of both. floor, bounds: explainers that are set apart and never best; bounds are
    not compared at all.
    """

    @checked
    def __init__(
        self, *, metric: MetricName, table: str, caption: str, **comparison: Unpack[Comparison]
    ) -> None:
        super().__init__(comparison["floor"], comparison["bounds"])
        self.metric, self.table, self.caption = metric, table, caption
        self.digits, self.removal = comparison["digits"], comparison["removal"]
        self.level, self.resamples = comparison["level"], comparison["resamples"]
        self.permutations, self.seed = comparison["permutations"], comparison["seed"]

    def __call__(self, query: RunQuery) -> list[Path]:
        columns = columns_of(query, metric=self.metric, removal=self.removal)
        return self.write(query, [self.scored(query, column) for column in columns])

    def write(self, query: RunQuery, scored: Sequence[Scored]) -> list[Path]:
        """The table and the differences behind its bold numbers."""
        compared = [(one.column.where, one.differences) for one in scored if one.tables]
        caption = f"{self.caption}: differences between explainers"
        return [
            *write_results(self.result(query, scored), query.stem()),
            *write_comparisons(compared, query.stem("_differences"), caption, self.digits),
        ]

    def scored(self, query: RunQuery, column: Column) -> Scored:
        """The rows of a column's entries, all differences between them, and the best."""
        if not column.entries:
            return Scored(column, {}, [], set())
        entries = ordered(query, column, self.apart)
        tables = {e.label: seed_average(e.rows(self.metric, column.removal)) for e in entries}
        kind = entries[0].runs[0].metric_class(self.metric)
        rivals = {e.label: tables[e.label] for e in entries if self.kind(e.explainer) != BOUND}
        try:
            differences = compare(
                rivals,
                kind.summary,
                resamples=self.resamples,
                permutations=self.permutations,
                seed=self.seed,
            )
        except NotImplementedError as error:
            raise UserError(f"collect.metric={self.metric}: {error}") from error
        values = {
            e.label: float(kind.summary(tables[e.label].mean(0)))
            for e in entries
            if self.kind(e.explainer) == METHOD
        }
        best = rivals_of_the_best(
            {name: value for name, value in values.items() if value == value},
            differences,
            higher=kind.presentation.higher_is_better,
            level=self.level,
        )
        return Scored(column, tables, differences, best)

    def result(self, query: RunQuery, scored: Sequence[Scored]) -> ResultTable:
        """The table itself."""
        return self.by_model(
            query,
            [self.filled(one) for one in scored],
            caption=self.caption,
            digits=self.digits,
            paper_digits=3,
            notes=self.notes(query, scored),
        )

    def filled(self, one: Scored) -> Filled:
        return Filled(one.column, partial(self.number, one), self.table)

    def number(self, one: Scored, entry: Entry, printed: float | None) -> Cell:
        name, summary = entry.label, entry.runs[0].metric_class(self.metric).summary
        found = estimate(
            one.tables[name],
            lambda averages: summary(averages).unsqueeze(-1),
            resamples=self.resamples,
            seed=self.seed,
        ).headline()
        weak = not all(map(meaningful, self.told(entry, one.column)))
        return Cell(
            value=found["value"],
            low=found["low"],
            high=found["high"],
            paper=printed,
            best=name in one.best,
            pairs=len(one.tables[name]),
            seeds=len(entry.runs),
            mark=WEAK if weak else "",
            reason="" if found["value"] is not None else "the score is not defined on these pairs",
        )

    def notes(self, query: RunQuery, scored: Sequence[Scored]) -> list[str]:
        """What holds for whole columns, and how to read the table."""
        lines = [
            "Brackets hold the 95 % bootstrap interval over pairs, with seeds averaged first. Bold "
            "marks the best, and what is not significantly worse on the same pairs (see the "
            "differences). Italic rows do not compete: they are a floor, and the orders of extreme "
            "AOPC, which bound AOPC alone."
        ]
        if any(self._printed(query, one) for one in scored):
            lines.append(
                "paper: Chen et al. (2021), with other weights and pairs, so compare orders only."
            )
        for one in scored:
            column, place = one.column, one.column.where
            if column.entries:
                run = column.entries[0].runs[0]
                accuracy = run.metrics["model"]["accuracy"]
                whole = accuracy is not None and not column.entries[0].without
                right = f", model right on {accuracy:.1%}" if whole else ""
                how = "" if column.removal is None else f", words removed by {column.removal}"
                lines.append(
                    f"{place}: {column.pairs} {run.config.split} pairs{how}, "
                    f"weights {run.weights[:8]}{right}."
                )
            told = [*seeds_told(query, column), *column.notes]
            lines += [f"{place}: {note}." for note in told]
            results = [result for e in column.entries for result in self.told(e, column)]
            floors = dict.fromkeys(filter(None, map(without_words, results)))
            lines += [f"{place}: {self.metric} without any word: {told}." for told in floors]
            weak = dict.fromkeys(why_not(result) for result in results if not meaningful(result))
            lines += [f"{WEAK} not meaningful: {place}: {self.metric}: {why}." for why in weak]
        return lines + query.left_out

    def _printed(self, query: RunQuery, one: Scored) -> bool:
        """Whether the paper has a number in this column, be it of an explainer without a run."""
        names = {*query.swept["explainer"], *(entry.explainer for entry in one.column.entries)}
        return any(self.filled(one).printed(name) is not None for name in names)

    def told(self, entry: Entry, column: Column) -> list[JSON]:
        """What every run of an entry says of the metric."""
        return [run.result(self.metric, column.removal) for run in entry.runs]
