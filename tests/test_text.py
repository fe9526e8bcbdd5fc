"""Text of others reaches no medium as anything but text, and all of it can be seen."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gmask_paper.collectors.example_pairs import Example, write_examples
from gmask_paper.collectors.group_plots import draw_groups
from gmask_paper.comparisons import write_comparisons
from gmask_paper.curve_figures import Curve, Panel, draw_panels
from gmask_paper.result_tables import Cell, ResultTable, Row, write_results
from gmask_pl.escaping import (
    csv_cell,
    html,
    latex,
    latex_row,
    markdown,
    markdown_note,
    terminal,
    visible,
)
from gmask_pl.explanation import Explanation
from gmask_pl.metrics.paired_tests import Difference
from gmask_pl.pipeline.failures import judge
from gmask_pl.pipeline.report.console_table import format_table
from gmask_pl.pipeline.report.logged import explanation_row, scalars
from gmask_pl.pipeline.report.multirun_summary import DONE, format_sweep
from gmask_pl.pipeline.report.page import write_page
from gmask_pl.processes import say
from gmask_pl.types import Groups

HOSTILE = (
    "a\x1b[31mred\x1b]0;title\x07",
    "two\nlines\r\nthree\u2028four\u2029five\x85six\x0bseven",
    "nul\x00 bell\x07 back\x08\x7f c1\x9b31m",
    "\u202eevil\u202c \u2066x\u2069 \u200f\u061c",
    "zero\u200bwidth\u2060\ufeff\u00ad\u180e",
    "half \ud800 of \udfff",
    "tags \U000e0041 private \ue000 none \uffff\ufdd0 filler \u3164",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "| a | b |\\| c |",
    "`code` **bold** _it_ ~~no~~ [l](http://x) ![i](http://x) <http://x>",
    "# heading",
    "1. list",
    "> quote",
    "$\\frac{",
    "$\\frac{$",
    "$x$ \\input{/etc/passwd} %",
    "=cmd|' /C calc'!A0",
    "@SUM(A1)",
    '"; onmouseover="x',
    "&lt;b&gt; &#124;",
    "_hidden",
)
PLAIN = "plain"
SHOWN = "\u200c\u200d"  # between letters of some scripts


def can_be_seen(text: str) -> bool:
    """Lines of characters that are drawn; `\\n` ends a line."""
    return all(c.isprintable() or c in "\n" + SHOWN for c in text)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a word", "a word"),
        ("a\x1b[31m", "a\\x1b[31m"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202ea", "\\u202ea"),
        ("\ud800", "\\ud800"),
        ("a\u00a0b\u3000c", "a b c"),
        ("\U000e0041", "\\U000e0041"),
        ("שָׁלוֹם नमस्ते 한국 e\u0301", "שָׁלוֹם नमस्ते 한국 e\u0301"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("a\u200cb", "a\\u200cb"),
        ("\u200d", "\\u200d"),
        ("م\u200c\u200dم", "م\\u200c\\u200dم"),
    ],
)
def test_what_cannot_be_seen_is_shown_by_its_escape(text: str, seen: str) -> None:
    assert visible(text) == seen
    assert visible(seen) == seen


@pytest.mark.parametrize("text", HOSTILE)
def test_every_medium_gets_one_line_that_can_be_seen(text: str) -> None:
    media: tuple[Callable[[str], str], ...] = (
        *(visible, terminal, html, markdown, markdown_note, latex, csv_cell),
    )
    for medium in media:
        lines = text.count("\n") if medium is terminal else 0
        found = medium(text)
        assert can_be_seen(found), medium
        assert found.count("\n") == lines, medium
        found.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("gmask_two_sided 2.5 - p < 0.05 AT&T", "gmask_two_sided 2.5 - p < 0.05 AT&T"),
        ("__init__ _a", r"\_\_init\_\_ \_a"),
        ("a|b\\|c", r"a\|b\\\|c"),
        ("<b>x</b> a < b", r"\<b>x\</b> a < b"),
        ("&lt;", r"\&lt;"),
        ("[l](http://x) www.x.org", r"\[l\](http\://x) www\.x.org"),
        ("# a", r"\# a"),
        ("#train", "#train"),
        ("- a", r"\- a"),
        ("1. a", r"1\. a"),
        ("> a", r"\> a"),
        ("$x$ `y` ~z~ *e*", r"\$x\$ \`y\` \~z\~ \*e\*"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, escaped: str) -> None:
    assert markdown(text) == escaped


def test_a_note_has_commands_between_backticks() -> None:
    told = "no run yet: `explain.py k=[a|b] <x>` *or* `open"
    assert markdown_note(told) == r"no run yet: `explain.py k=[a|b] <x>` \*or\* \`open"
    assert markdown_note("<b>`<b>`<b>") == r"\<b>`<b>`\<b>"
    assert markdown_note("``") == r"\`\`"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+a", "'+a"),
        ("-a", "'-a"),
        ("@a", "'@a"),
        ("＝1", "'＝1"),
        ("-0.5", "-0.5"),
        (-0.5, "-0.5"),
        (None, ""),
        ("a=b", "a=b"),
    ],
)
def test_a_spreadsheet_takes_no_text_for_a_formula(value: object, cell: str) -> None:
    assert csv_cell(value) == cell


def test_a_row_of_latex_is_no_argument_of_the_end_of_the_row_above() -> None:
    assert latex_row([latex("[1em]"), "b"]) == r"{}[1em] & b \\"
    assert latex_row(["a", "[b]"]) == r"a & [b] \\"
    assert latex(r"\input{x} <") == r"\textbackslash{}input\{x\} \textless{}"


def explanation(text: str) -> Explanation:
    groups = Groups((0, 1), ((0.9, 0.1), (0.4, 0.6)), (0.7, 0.3))
    return Explanation(
        text, (text, "b"), (text,), 0, 1, (0.2, 0.8), (0.5, 0.1, -0.2), groups, 1, 0, 0.1
    )


def metrics(text: str) -> dict[str, Any]:
    return {
        text: {"value": 0.5, "low": 0.4, "high": 0.6, "n": 3, "meaning": text},
        "agreement": {"value": 0.1, "by_label": {text: {"value": 0.2}}},
        "degradation": {"value": 1.0, "meaningful": False, "denominator": 0.0},
        "failed": {"reading": {text: text}},
        "by_removal": {text: {"aopc": {"value": 0.1}}, "pad": {"aopc": {"value": 0.2}}},
    }


def console(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    (folder / "metrics.json").write_text('{"aopc": {"value": 0.5}}', "utf-8")
    jobs = [
        {"overrides": [f"dataset={text}", "seed=1"], "folder": str(folder), "fate": DONE},
        {"overrides": [f"dataset={text}", text], "folder": str(folder), "fate": "no"},
    ]
    judge({text: text}, 9, 1.0, "pairs failed")
    return [format_table([(text, metrics(text))]), format_sweep(jobs), capsys.readouterr().out]


def test_a_run_of_a_sweep_whose_results_are_damaged_is_named(tmp_path: Path) -> None:
    jobs = []
    for name, text in (("one", "[]"), ("two", '{"aopc": {"value": 0.5}}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(text, "utf-8")
        job = {"overrides": [name], "folder": str(tmp_path / name), "fate": DONE}
        jobs.append(job)
    told = format_sweep(jobs)
    assert "two" in told
    assert "0.500" in told
    assert "1 of 2 runs failed:\none: " in told
    assert "metrics.json: a list and no object" in told


def test_a_sweep_of_one_run_names_its_explainer(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"aopc": {"value": 0.5}}', "utf-8")
    job = {"overrides": ["model=bert", "explainer=lime"], "folder": str(tmp_path), "fate": DONE}
    row = next(line for line in format_sweep([job]).splitlines() if "0.500" in line)
    assert row.split()[0] == "lime"


def documents(text: str, folder: Path) -> list[Path]:
    """Everything that a report writes, with the text wherever a text of others may stand."""
    e = explanation(text)
    table = ResultTable(
        title=text,
        stub=("model", "explainer"),
        head=(text, "b"),
        rows=tuple(
            Row(text, text, kind, (Cell(0.5, 0.4, 0.6, reason=text), Cell(text, paper=text)))
            for kind in ("method", "floor")
        ),
        digits=3,
        paper_digits=3,
        notes=(text,),
    )
    differences = [Difference(text, "b", 3, 0.1, 0.0, 0.2, 0.04, 0.04)]
    return [
        write_page(
            folder / "report.html",
            title=text,
            settings={"weights": text, text: [text]},
            metrics=metrics(text),
            explanations=[e],
            labels=(text, "yes"),
            max_pairs=5,
        ),
        *write_results(table, folder / "table"),
        *write_comparisons([(text, differences)], folder / "differences", text, 3),
        *write_examples(
            folder / "pairs", text, [Example(text, text, ((text, e),))], [text], words=2
        ),
    ]


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))


def form(path: Path) -> Any:
    """What a reader of this kind of file makes of it, but for the text."""
    text = path.read_text("utf-8")
    if path.suffix == ".html":
        return Elements(text).found
    if path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(text)))
        assert not any(re.match(r"[=+@]|-\D", cell) for row in rows for cell in row)
        return [len(row) for row in rows]
    if path.suffix == ".md":
        lines = re.sub(r"\\\\", "", text).split("\n")
        marks = re.sub(r"\\[|<*_`\[\]~$]", "", "\n".join(lines))
        return [
            [line.count("|"), re.match("#*", line)[0], len(re.findall("<(?!/?sub>)", line))]  # type: ignore[index]
            for line in marks.split("\n")
        ]
    return text.count("\n")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_the_form_of_no_report(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, plain = (documents(t, tmp_path / str(i)) for i, t in enumerate((text, PLAIN)))
    for own, other in zip(ours, plain, strict=True):
        assert can_be_seen(own.read_text("utf-8")), own.name
        assert form(own) == form(other), own.name
    told = [console(t, tmp_path, capsys) for t in (text, PLAIN)]
    for own_lines, other_lines in zip(*told, strict=True):
        assert can_be_seen(own_lines)
        assert own_lines.count("\n") == other_lines.count("\n")
    row = [cell for cell in explanation_row(explanation(text), (text, "b")) if type(cell) is str]
    assert all(can_be_seen(cell) and "\n" not in cell for cell in row)
    assert all(can_be_seen(name) and "\n" not in name for name, _ in scalars(metrics(text)))
    say(f"{text}")
    assert can_be_seen(capsys.readouterr().out)


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:constrained_layout")
def test_figures_draw_hostile_text_as_text(tmp_path: Path) -> None:
    names = (*HOSTILE, "$x^2$")
    curves = tuple(Curve(n, "method", (1, 2), (0, 1), (0, 1), (0, 1)) for n in names)
    panels = [[Panel(" ".join(HOSTILE), curves, ""), Panel("$\\frac{", (), " ".join(HOSTILE))]]
    e = explanation(HOSTILE[0])
    odd = replace(e, words1=names, words2=("b",), scores=(0.1,) * (len(names) + 1))
    figures = [
        *draw_panels(panels, tmp_path / "curves", x="x", y="y"),
        *draw_groups(tmp_path / "groups", " ".join(HOSTILE), odd, odd),
    ]
    for figure in figures:
        if figure.suffix == ".svg":
            svg = ElementTree.fromstring(figure.read_text("utf-8"))
            assert {node.tag.rpartition("}")[2] for node in svg.iter()}.isdisjoint(
                ("script", "img")
            )
            drawn = {part.strip() for part in svg.itertext()}
            assert all(map(can_be_seen, drawn))
            assert {visible(name) for name in names} <= drawn  # in the legend, or as a word
