"""Tables 3 and 8: pairs with the words that each explainer finds most important."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gmask_paper.collector import (
    Collector,
    ExplainerName,
    columns_of,
    damaged,
    label,
    missing,
    ordered,
)
from gmask_paper.example_pages import Example, write_examples
from gmask_paper.paper_numbers import title
from gmask_paper.run_query import RunQuery
from gmask_paper.table_columns import Column
from gmask_pl.settings import Count, checked


class ExampleTable(Collector):
    """The experiment's ``pairs`` by every explainer, the top words highlighted.

    words: how many are highlighted. Of several seeds the lowest is shown. last: explainers that
    come last.
    """

    @checked
    def __init__(self, *, caption: str, words: Count, last: Sequence[ExplainerName]) -> None:
        self.caption, self.words, self.last = caption, words, list(last)

    def __call__(self, query: RunQuery) -> list[Path]:
        examples: list[Example] = []
        notes: list[str] = []
        for column in columns_of(query):
            where = f"{title('models', column.model)}, {title('datasets', column.dataset)}"
            lacking, why = missing(query, column)
            if lacking:
                notes.append(f"{where}: {', '.join(lacking)}: {why}")
            notes += [f"{where}: {note}" for note in column.notes]
            examples += self.examples(query, column, where)
        notes += damaged(query)
        stem = query.folder / query.name
        return write_examples(stem, self.caption, examples, notes, words=self.words)

    def examples(self, query: RunQuery, column: Column, where: str) -> list[Example]:
        """The pairs of a column, each with its explanations in the order of the paper."""
        if not column.entries:
            return []
        entries = ordered(query, column, self.last)
        first = entries[0].runs[0]
        found = []
        for id, one in first.explanations.items():
            if id in entries[0].without:
                continue
            wrong = one.label is not None and one.label != one.prediction
            gold = f", gold {first.labels[one.label or 0]}" if wrong else ""
            heading = f"{where}: predicted {first.labels[one.prediction]}{gold}"
            shown = tuple((label(entry), entry.runs[0].explanations[id]) for entry in entries)
            found.append(Example(heading, id, shown))
        return found
