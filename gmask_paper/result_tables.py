"""A table of the paper with our numbers beside its own, as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gmask_pl.escaping import csv_cell, latex_row, markdown_note
from gmask_pl.escaping import latex as escaped
from gmask_pl.escaping import markdown as marked
from gmask_pl.files import write_text
from gmask_pl.pipeline.report.console_table import MISSING


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of ours, and the paper's.

    value, low, high: ours with its 95 % interval; paper: the paper's, as printed. best: the best
    of its column or not significantly worse. pairs, seeds: behind ours. mark: follows the
    number. reason: why there is no number, or what to know of it.
    """

    value: float | str | None = None
    low: float | None = None
    high: float | None = None
    paper: float | str | None = None
    best: bool = False
    pairs: int | None = None
    seeds: int | None = None
    mark: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: ``kind`` is method, or floor or bound, which are set apart and never best."""

    group: str
    name: str
    kind: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class ResultTable:
    """head: of the columns; stub: of the group and the name (both empty: no such column).

    Rows of one group stand together. digits: of our numbers. notes: lines below the table.
    """

    title: str
    stub: tuple[str, str]
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    digits: int
    paper_digits: int
    notes: tuple[str, ...] = ()

    @property
    def counts_seeds(self) -> bool:
        """Whether the rows are of runs with seeds, and so have a column of their number."""
        return any(cell.seeds for row in self.rows for cell in row.cells)

    @property
    def reasons(self) -> list[str]:
        """What cells have to say, each once, in the order they say it."""
        every = (cell.reason for row in self.rows for cell in row.cells if cell.reason)
        return list(dict.fromkeys(every))


def write_results(table: ResultTable, stem: Path) -> list[Path]:
    """Write stem.md, stem.tex and stem.csv; return their paths."""
    return [
        write_text(stem.with_suffix(".md"), markdown(table)),
        write_text(stem.with_suffix(".tex"), latex(table)),
        write_text(stem.with_suffix(".csv"), comma_separated(table)),
    ]


def markdown(table: ResultTable) -> str:
    """A Markdown table: for each column ours with its interval, then the paper's if it has any."""
    head = [part for part in table.stub if part] + ["seeds"] * table.counts_seeds
    compared = [
        any(row.cells[i].paper is not None for row in table.rows) for i in range(len(table.head))
    ]
    for name, printed in zip(table.head, compared, strict=True):
        head += [name, "paper"][: 1 + printed]
    head = [marked(name) for name in head]
    lines = [f"# {marked(table.title)}", "", _line(head), _line(["---"] * len(head))]
    for row in table.rows:
        name = marked(row.name) if row.kind == "method" else f"*{marked(row.name)}*"
        stub = (marked(row.group), name)
        cells = [text for text, wanted in zip(stub, table.stub, strict=True) if wanted]
        cells += [_seeds(row)] * table.counts_seeds
        for cell, printed in zip(row.cells, compared, strict=True):
            shown = marked(_ours(cell, table))
            shown = f"**{shown}**" if cell.best else shown
            shown += _interval(cell, table) + _reference(cell, table)
            cells += [shown, marked(_paper(cell, table))][: 1 + printed]
        lines.append(_line(cells))
    notes = [markdown_note(note) for note in table.notes]
    notes += [f"[{i}] {markdown_note(reason)}" for i, reason in enumerate(table.reasons, start=1)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def latex(table: ResultTable) -> str:
    """A LaTeX table for booktabs: ours with its interval, then the paper's in grey."""
    stubs = [escaped(part) for part in table.stub if part] + ["seeds"] * table.counts_seeds
    head = [*stubs, *(rf"\multicolumn{{2}}{{c}}{{{escaped(name)}}}" for name in table.head)]
    under = [""] * len(stubs) + ["ours", "paper"] * len(table.head)
    body: list[str] = []
    above: Row | None = None
    for row in table.rows:
        first = above is None or above.group != row.group
        if above is not None and first:
            body.append(r"\midrule")
        elif above is not None and row.kind != "method" == above.kind and table.stub[0]:
            body.append(rf"\cmidrule{{2-{len(under)}}}")
        body.append(_latex_row(row, table, row.group if first else ""))
        above = row
    notes = [*table.notes, *(f"[{i}] {r}" for i, r in enumerate(table.reasons, start=1))]
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table*}",
        r"\centering\small",
        rf"\begin{{tabular}}{{{'l' * len(stubs)}{'rr' * len(table.head)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        " & ".join(under) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        rf"\caption{{{escaped(table.title)}}}",
        *(rf"\par\footnotesize {escaped(note)}" for note in notes),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def comma_separated(table: ResultTable) -> str:
    """One line for each cell, with everything that is known of it."""
    columns = ("value", "low", "high", "paper", "best", "pairs", "seeds", "reason")
    names = [part or default for part, default in zip(table.stub, ("group", "row"), strict=True)]
    lines: list[list[object]] = [[*(name.lower() for name in names), "kind", "column", *columns]]
    for row in table.rows:
        for name, cell in zip(table.head, row.cells, strict=True):
            values = (getattr(cell, column) for column in columns)
            lines.append([row.group, row.name, row.kind, name, *values])
    return write_csv(lines)


def write_csv(lines: Iterable[Sequence[object]]) -> str:
    """Lines as CSV text; see `gmask_pl.escaping.csv_cell`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(csv_cell, line) for line in lines)
    return text.getvalue()


def _latex_row(row: Row, table: ResultTable, group: str) -> str:
    name = escaped(row.name) if row.kind == "method" else rf"\textit{{{escaped(row.name)}}}"
    stub = (escaped(group), name)
    cells = [text for text, wanted in zip(stub, table.stub, strict=True) if wanted]
    cells += [escaped(_seeds(row))] * table.counts_seeds
    for cell in row.cells:
        ours = escaped(_ours(cell, table))
        ours = rf"\textbf{{{ours}}}" if cell.best else ours
        if interval := _interval(cell, table):
            ours += rf"\,{{\scriptsize {escaped(interval.strip())}}}"
        if reference := _reference(cell, table):
            ours += rf"\textsuperscript{{{escaped(reference.strip())}}}"
        cells += [ours, rf"\textit{{{escaped(_paper(cell, table))}}}"]
    return latex_row(cells)


def _seeds(row: Row) -> str:
    """How many seeds a row's cells average, as in 3 or 1–3."""
    counts = sorted({cell.seeds for cell in row.cells if cell.seeds})
    return "–".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else MISSING


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _ours(cell: Cell, table: ResultTable) -> str:
    return _number(cell.value, table.digits) + cell.mark


def _interval(cell: Cell, table: ResultTable) -> str:
    if cell.low is None or cell.high is None:
        return ""
    return f" [{cell.low:.{table.digits}f}, {cell.high:.{table.digits}f}]"


def _reference(cell: Cell, table: ResultTable) -> str:
    return f" [{table.reasons.index(cell.reason) + 1}]" if cell.reason else ""


def _paper(cell: Cell, table: ResultTable) -> str:
    return _number(cell.paper, table.paper_digits)


def _number(value: float | str | None, digits: int) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else f"{value:,.{digits}f}"
