"""Differences between explainers, as files beside a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gmask_paper.result_tables import write_csv
from gmask_pl.escaping import markdown, markdown_note
from gmask_pl.files import write_text
from gmask_pl.metrics.paired_tests import Difference
from gmask_pl.pipeline.report.console_table import MISSING

HOW = (
    "Row less column on the same pairs, seeds averaged first. Brackets: 95 % paired bootstrap. "
    "Stars: p of a paired permutation test after Holm's correction over all differences of a "
    "matrix: * < 0.05, ** < 0.01, *** < 0.001. Bounds take no part."
)
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
Compared = tuple[str, Sequence[Difference]]  # where, and what is different there


def write_comparisons(
    compared: Sequence[Compared], stem: Path, title: str, digits: int
) -> list[Path]:
    """Write stem.md, a matrix for each place, and stem.csv, a line for each difference."""
    head = ("where", "first", "second", "difference", "low", "high", "p", "p_holm", "pairs")
    lines: list[Sequence[object]] = [head]
    for where, differences in compared:
        for d in differences:
            numbers = (d.value, d.low, d.high, d.p, d.corrected)
            lines.append((where, d.first, d.second, *numbers, d.n))
    parts = [f"# {markdown(title)}", "", markdown_note(HOW), ""]
    for where, differences in compared:
        parts += [f"## {markdown(where)}", "", *_matrix(differences, digits), ""]
    return [
        write_text(stem.with_suffix(".md"), "\n".join(parts)),
        write_text(stem.with_suffix(".csv"), write_csv(lines)),
    ]


def _matrix(differences: Sequence[Difference], digits: int) -> list[str]:
    """Row less column; each difference once, above the diagonal."""
    if not differences:
        return ["fewer than two explainers to compare"]
    names = list(dict.fromkeys(name for d in differences for name in (d.first, d.second)))
    found = {(d.first, d.second): _shown(d, digits) for d in differences}
    lines = [["row − column", *map(markdown, names[1:])], ["---"] * len(names)]
    for i, row in enumerate(names[:-1]):
        cells = (found.get((row, c), "") if c in names[i:] else "" for c in names[1:])
        lines.append([markdown(row), *cells])
    return ["| " + " | ".join(line) + " |" for line in lines]


def _shown(d: Difference, digits: int) -> str:
    if d.value is None:
        return MISSING
    stars = "" if d.corrected is None else next((s for p, s in STARS if d.corrected < p), "")
    interval = "" if d.low is None else f" [{d.low:+.{digits}f}, {d.high:+.{digits}f}]"
    return f"{d.value:+.{digits}f}{stars}{interval}"
