"""Tables with the paper's numbers beside ours, in three forms; and the paper's numbers."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from gmask_paper.collectors.example_pairs import (
    Example,
    as_html,
    as_latex,
    as_markdown,
    shades,
)
from gmask_paper.comparisons import write_comparisons
from gmask_paper.paper_numbers import explainers, paper, published, title
from gmask_paper.result_tables import (
    Cell,
    ResultTable,
    Row,
    comma_separated,
    escaped,
    latex,
    markdown,
)
from gmask_pl.explanation import Explanation
from gmask_pl.metrics.paired_tests import Difference

NO_RUN = "no run yet: `python explain.py explainer=l2x,iba`"
TABLE = ResultTable(
    title="AOPC & more_or_less, 100 %",
    stub=("model", "explainer"),
    head=("e-SNLI", "Quora"),
    rows=(
        Row("BERT", "GMASK", "method", (Cell(0.5, 0.4, 0.6, 0.319, True, 100, 3), Cell(0.1))),
        Row("BERT", "LIME (samples=500)", "method", (Cell(paper=0.221, reason=NO_RUN), Cell(0.2))),
        Row("BERT", "random", "floor", (Cell(0.05, mark="°"), Cell(reason=NO_RUN))),
    ),
    digits=3,
    paper_digits=3,
    notes=("100 pairs.",),
)


def test_markdown() -> None:
    lines = markdown(TABLE).splitlines()
    assert lines[0] == "# AOPC & more_or_less, 100 %"
    assert lines[2] == "| model | explainer | seeds | e-SNLI | paper | Quora |"  # none printed
    assert lines[4] == "| BERT | GMASK | 3 | **0.500** [0.400, 0.600] | 0.319 | 0.100 |"
    assert lines[5] == "| BERT | LIME (samples=500) | – | – [1] | 0.221 | 0.200 |"
    assert lines[6] == "| BERT | *random* | – | 0.050° | – | – [1] |"
    assert lines[8:] == ["- 100 pairs.", f"- [1] {NO_RUN}"]


def test_latex() -> None:
    text = latex(TABLE)
    assert r"\caption{AOPC \& more\_or\_less, 100 \%}" in text
    assert (
        r"BERT & GMASK & 3 & \textbf{0.500}\,{\scriptsize [0.400, 0.600]} & \textit{0.319}" in text
    )
    assert r" & LIME (samples=500) & -- & --\textsuperscript{[1]} & \textit{0.221}" in text
    assert r" & \textit{random} & " in text
    assert text.index(r"\cmidrule{2-7}") < text.index("random")
    assert r"\begin{tabular}{lllrrrr}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")][2:]
    assert {line.count("&") for line in rows} == {6}


def test_latex_prints_text_as_it_is() -> None:
    assert escaped(r"50% of $x_1$ & #2 {a} ~b^c \d") == (
        r"50\% of \$x\_1\$ \& \#2 \{a\} \textasciitilde{}b\textasciicircum{}c \textbackslash{}d"
    )


def test_csv_holds_everything() -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(TABLE))))
    assert len(rows) == 6
    assert rows[0] == {
        "model": "BERT",
        "explainer": "GMASK",
        "kind": "method",
        "column": "e-SNLI",
        "value": "0.5",
        "low": "0.4",
        "high": "0.6",
        "paper": "0.319",
        "best": "True",
        "pairs": "100",
        "seeds": "3",
        "reason": "",
    }
    assert (rows[2]["value"], rows[2]["reason"]) == ("", NO_RUN)


def test_differences_side_by_side(tmp_path: Path) -> None:
    differences = [
        Difference("a", "b", 9, 0.25, 0.1, 0.4, 0.001, 0.002),
        Difference("a", "c", 9, None, None, None, None, None),
        Difference("b", "c", 9, -0.5, -0.6, -0.4, 0.0001, 0.0003),
    ]
    files = write_comparisons([("BERT, Quora", differences)], tmp_path / "d", "Title", 2)
    lines = files[0].read_text("utf-8").splitlines()
    start = lines.index("## BERT, Quora") + 2
    assert lines[start : start + 4] == [
        "| row − column | b | c |",
        "| --- | --- | --- |",
        "| a | +0.25** [+0.10, +0.40] | – |",
        "| b |  | -0.50*** [-0.60, -0.40] |",
    ]
    rows = list(csv.DictReader(io.StringIO(files[1].read_text("utf-8"))))
    assert (rows[0]["difference"], rows[0]["p_holm"], rows[0]["pairs"]) == ("0.25", "0.002", "9")
    assert rows[1]["difference"] == ""


@pytest.mark.parametrize(
    ("keys", "printed"),
    [
        (("table1", "dattn", "mrpc"), 68.30),
        (("table1", "bert", "quora"), 90.48),
        (("table2", "dattn", "iba", "qqp"), 0.104),
        (("table2", "bert", "gmask", "quora"), 0.309),
        (("table4", "bert", "l2x", "mrpc"), -0.003),
        (("table4", "dattn", "gmask", "mrpc"), 2.790),
        (("table6", "dattn", "esnli"), 87.75),
        (("table7", "bert", "gmask", "qqp"), 43.77),
        (("table7", "dattn", "lime", "mrpc"), 19.12),
    ],
)
def test_the_papers_numbers(keys: tuple[str, ...], printed: float) -> None:
    assert published(*keys) == printed


def test_the_papers_tables_are_whole() -> None:
    for name in ("table2", "table4", "table7"):
        for model in ("dattn", "bert"):
            assert list(paper()[name][model]) == ["lime", "l2x", "iba", "imask", "gmask"]
            assert {len(row) for row in paper()[name][model].values()} == {4}
    assert published("table5", "qqp") == [2, 11.1, 126266, "364K", "40K", "391K"]
    # Section 5.1.3: GMASK has the best degradation score everywhere.
    for model, rows in paper()["table4"].items():
        for i in range(4):
            assert max(rows, key=lambda name: rows[name][i]) == "gmask", (model, i)


def test_what_the_paper_does_not_have() -> None:
    assert published("table2", "bert", "shapley", "esnli") is None
    assert published("table2", "bert", "gmask", "planted") is None
    assert published("table1", "bert_tiny", "esnli") is None
    assert published("figure3", "bert", "gmask", "esnli") is None
    assert explainers() == ["lime", "l2x", "iba", "imask", "gmask"]
    assert title("datasets", "planted") == "planted"


def explanation(scores: tuple[float, ...]) -> Explanation:
    words = ("50%", "a_b", "<i>"), ("x", "|y", "z")
    return Explanation("p", *words, 0, 1, (0.2, 0.8), scores, None, 1, 0, 0.0)


def test_the_top_words_of_an_example() -> None:
    one, two = shades(explanation((0.1, 0.9, 0.0, 0.3, 0.5, -0.7)), words=2)
    assert [word.rank for word in one + two] == [None, 1, None, None, 2, None]
    assert one[1].saturation == 1.0
    assert [word.side for word in one + two] == ["one"] * 3 + ["two"] * 3


def test_examples_are_text_in_every_form() -> None:
    example = Example("BERT", "p", (("GMASK", explanation((0.1, 0.9, 0.5, 0.3, 0.4, 0.0))),))
    page = as_html("t", [example], ["note <1>"], 3)
    assert "&lt;i&gt;</mark>" in page
    assert "note &lt;1&gt;" in page
    assert "<i>" not in page
    lines = as_markdown("t", [example], [], 3)
    odd = replace(example, id="x) <b>\n\n![i](http://evil/x.png)")
    assert r"(x) \<b>\\n\\n!\[i\](http\://evil/x.png))" in as_markdown("t", [odd], [], 3)
    assert r"50% **a_b**<sub>1</sub> **\<i>**<sub>2</sub> / x **\|y**<sub>3</sub> z" in lines
    text = as_latex("t", [example], [], 3)
    assert r"\colorbox{sideone!100}{\strut a\_b}" in text
    assert r"50\% " in text
