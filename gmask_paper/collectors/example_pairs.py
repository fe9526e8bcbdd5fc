"""Tables 3 and 8: pairs with the words that each explainer finds most important."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gmask_paper.collector import Collector, ExplainerName, columns_of, missing, ordered
from gmask_paper.run_query import RunQuery
from gmask_paper.table_columns import Column
from gmask_pl.drawing.cards import ranks, strengths
from gmask_pl.escaping import html, latex, latex_row, markdown, markdown_note
from gmask_pl.explanation import Explanation
from gmask_pl.files import write_text
from gmask_pl.settings import Count, checked

# Pink for side one and blue for side two, as in the paper; the same as on the page of a run.
COLORS = {"one": (244, 143, 182), "two": (120, 178, 240)}
PALEST = 0.25  # of a highlighted word


@dataclass(frozen=True, slots=True)
class Example:
    """One pair under a heading, as every explainer (by name) explains it."""

    heading: str
    id: str
    shown: tuple[tuple[str, Explanation], ...]


@dataclass(frozen=True, slots=True)
class Shade:
    """A word; ``rank`` from 1 and ``saturation`` where it is highlighted, else None."""

    text: str
    side: str
    rank: int | None
    saturation: float | None


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
            lacking, why = missing(query, column)
            if lacking:
                notes.append(f"{column.where}: {', '.join(lacking)}: {why}")
            notes += [f"{column.where}: {note}" for note in column.notes]
            examples += self.examples(query, column)
        notes += query.left_out
        return write_examples(query.stem(), self.caption, examples, notes, words=self.words)

    def examples(self, query: RunQuery, column: Column) -> list[Example]:
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
            heading = f"{column.where}: predicted {first.labels[one.prediction]}{gold}"
            shown = tuple((entry.label, entry.runs[0].explanations[id]) for entry in entries)
            found.append(Example(heading, id, shown))
        return found


def shades(explanation: Explanation, words: int) -> tuple[list[Shade], list[Shade]]:
    """Both sides, the ``words`` best of the pair highlighted; saturation is the attribution."""
    e = explanation
    rank, strength = ranks(e.scores), strengths(e.scores)
    found = []
    for i, word in enumerate(e.words):
        top = rank[i] <= words
        share = PALEST + (1 - PALEST) * strength[i]
        side = "one" if i < len(e.words1) else "two"
        found.append(Shade(word, side, rank[i] if top else None, share if top else None))
    return found[: len(e.words1)], found[len(e.words1) :]


def write_examples(
    stem: Path, title: str, examples: Sequence[Example], notes: Sequence[str], *, words: int
) -> list[Path]:
    """Write stem.html, stem.md and stem.tex; return their paths."""
    return [
        write_text(stem.with_suffix(".html"), as_html(title, examples, notes, words)),
        write_text(stem.with_suffix(".md"), as_markdown(title, examples, notes, words)),
        write_text(stem.with_suffix(".tex"), as_latex(title, examples, notes, words)),
    ]


def as_html(title: str, examples: Sequence[Example], notes: Sequence[str], words: int) -> str:
    """One self-contained page."""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><title>{html(title)}</title>',
        "<style>body{font:15px/1.9 sans-serif;margin:2rem auto;max-width:70rem;padding:0 1.5rem}"
        "th{text-align:left;padding-right:1.2rem;font-weight:600;white-space:nowrap}"
        "td,th{border-top:1px solid #e4e2ea;vertical-align:top}table{border-collapse:collapse}"
        "mark{padding:.1em .2em;border-radius:.25em;color:inherit}</style>",
        f"<h1>{html(title)}</h1>",
    ]
    for example in examples:
        parts.append(f"<h2>{html(f'{example.heading} ({example.id})')}</h2><table>")
        for name, explanation in example.shown:
            sides = shades(explanation, words)
            text = "<br>".join(" ".join(map(_html_word, side)) for side in sides)
            parts.append(f"<tr><th>{html(name)}</th><td>{text}</td></tr>")
        parts.append("</table>")
    parts += [f"<p>{html(note)}</p>" for note in notes]
    return "\n".join(parts) + "\n"


def as_markdown(title: str, examples: Sequence[Example], notes: Sequence[str], words: int) -> str:
    """Markdown has no colours: highlighted words are bold, with their rank."""
    lines = [f"# {markdown(title)}", "", f"Bold: the top {words} words, with their rank.", ""]
    for example in examples:
        lines += [
            f"## {markdown(f'{example.heading} ({example.id})')}",
            "",
            "| explainer | pair |",
            "| --- | --- |",
        ]
        for name, explanation in example.shown:
            sides = shades(explanation, words)
            text = " / ".join(" ".join(map(_markdown_word, side)) for side in sides)
            lines.append(f"| {markdown(name)} | {text} |")
        lines.append("")
    return "\n".join([*lines, *(f"- {markdown_note(note)}" for note in notes)]) + "\n"


def as_latex(title: str, examples: Sequence[Example], notes: Sequence[str], words: int) -> str:
    """A booktabs table whose words are in colour boxes."""
    colors = [
        rf"\definecolor{{side{side}}}{{RGB}}{{{','.join(map(str, rgb))}}}"
        for side, rgb in COLORS.items()
    ]
    lines = [
        "% needs \\usepackage{booktabs,xcolor}",
        *colors,
        r"\begin{table*}",
        r"\centering\small\setlength{\fboxsep}{1pt}",
        r"\begin{tabular}{lp{0.8\textwidth}}",
    ]
    for i, example in enumerate(examples):
        lines += [r"\midrule" if i else r"\toprule"]
        lines += [rf"\multicolumn{{2}}{{l}}{{{latex(example.heading)}}} \\", r"\midrule"]
        for name, explanation in example.shown:
            sides = shades(explanation, words)
            text = r" \newline ".join(" ".join(map(_latex_word, side)) for side in sides)
            lines.append(latex_row([latex(name), text]))
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{latex(title)}}}"]
    lines += [rf"\par\footnotesize {latex(note)}" for note in notes]
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def _html_word(word: Shade) -> str:
    text = html(word.text)
    if word.saturation is None:
        return text
    red, green, blue = COLORS[word.side]
    style = f"background:rgb({red} {green} {blue} / {word.saturation:.2f})"
    return f'<mark style="{style}" title="rank {word.rank}">{text}</mark>'


def _markdown_word(word: Shade) -> str:
    text = markdown(word.text)
    return text if word.rank is None else f"**{text}**<sub>{word.rank}</sub>"


def _latex_word(word: Shade) -> str:
    text = latex(word.text)
    if word.saturation is None:
        return text
    return rf"\colorbox{{side{word.side}!{round(100 * word.saturation)}}}{{\strut {text}}}"
