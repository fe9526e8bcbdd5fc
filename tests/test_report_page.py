"""The page shows what was found, and shows data-set text as text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gmask_pl.drawing.cards import make_card, ranks, strengths
from gmask_pl.drawing.html import script
from gmask_pl.explanation import Explanation
from gmask_pl.pipeline.report.page import write_page
from gmask_pl.types import Groups, Interactions, UserError

LABELS = ("entailment", "<i>neutral</i>")
HOSTILE = ("<script>alert(1)</script>", '"onmouseover="alert(2)', "😀", "</title>", "'&amp;")


def explanation(**changes: Any) -> Explanation:
    given: dict[str, Any] = {
        "id": "pair-1",
        "words1": ("a", "guitar", "here"),
        "words2": ("a", "banjo"),
        "label": 0,
        "prediction": 1,
        "probabilities": (0.25, 0.75),
        "scores": (0.0, 0.5, -0.25, 0.1, 1.0),
        "groups": Groups(
            (1, 4, 0), ((0.1, 0.5, 0.4), (0.0, 0.2, 0.8), (0.9, 0.05, 0.05)), (0.1, 0.6, 0.3)
        ),
        "evaluations": 8,
        "gradients": 0,
        "seconds": 0.1,
    }
    return Explanation(**given | changes)


def page(folder: Path, *explanations: Explanation, **changes: Any) -> str:
    given: dict[str, Any] = {
        "title": "A title",
        "settings": {"model": "bert"},
        "metrics": {},
        "explanations": iter(explanations),
        "labels": LABELS,
        "max_pairs": 10,
    }
    return write_page(folder / "report.html", **given | changes).read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text, as a browser would read them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [a for _, a in self.tags if name in (a.get("class") or "").split()]


def test_text_of_the_data_is_text_everywhere(tmp_path: Path) -> None:
    n = len(HOSTILE)
    hostile = explanation(
        id=HOSTILE[0],
        words1=HOSTILE,
        words2=HOSTILE,
        scores=tuple(range(2 * n)),
        groups=Groups((0, 1, n), ((0.6, 0.4),) * 3, (0.5, 0.5)),
    )
    settings = {HOSTILE[0]: HOSTILE[1]}
    html = page(tmp_path, hostile, title=HOSTILE[3], settings=settings)
    found = Elements(html)
    tags = {tag for tag, _ in found.tags}
    assert not tags & {"img", "link", "iframe", "i", "object", "base"}
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert f"<script>{script()}</script>" in html
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    for word in (*HOSTILE, LABELS[1]):
        assert word in found.text
    titles = [a["title"] or "" for a in found.of_class("w") if "title" in a]
    assert [t for t in titles if t.startswith(f"\u2068{HOSTILE[1]}\u2069: ")]


def test_the_page_needs_no_network_and_allows_no_script_but_its_own(tmp_path: Path) -> None:
    html = page(tmp_path, explanation(), metrics={"aopc": {"value": 0.5}})
    policy = next(a for tag, a in Elements(html).tags if tag == "meta" and "http-equiv" in a)
    own = html.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert (policy["content"] or "").split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        f"script-src 'sha256-{digest}'",
    ]
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", html)


def test_words_carry_side_strength_rank_and_sign(tmp_path: Path) -> None:
    words = [
        a for a in Elements(page(tmp_path, explanation(groups=None))).of_class("w") if "title" in a
    ]
    assert [(a["class"] or "").split()[1:] for a in words] == [
        ["one"], ["one", "top"], ["one", "negative"], ["two", "top"], ["two", "top"]
    ]  # fmt: skip
    strengths = [a["style"] for a in words]
    assert strengths == ["--a:0.00", "--a:0.50", "--a:0.25", "--a:0.10", "--a:1.00"]
    assert words[1]["title"] == "\u2068guitar\u2069: attribution 0.5, rank 2 of 5"


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.4, 0.6, 0.8), (0, 0.5, 1)),  # all positive: from the lowest
        ((0.0, 0.5, 1.0), (0, 0.5, 1)),
        ((-1.0, 0.5, 0.25), (1, 0.5, 0.25)),  # signed: from zero
        ((-2.0, -1.0), (1, 0.5)),
        ((0.5, 0.5), (0, 0)),
        ((0.5, 0.5 + 1e-9, 0.5), (0, 0, 0)),  # rounding errors
        ((1e-9, -1e-9), (0, 0)),
        ((0.0, 0.0), (0, 0)),
        ((), ()),
    ],
)
def test_strengths(scores: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert strengths(scores) == pytest.approx(list(expected))


def test_of_equal_scores_the_earlier_word_ranks_first() -> None:
    assert ranks((0.5, 1.0, 0.5, -1.0, 0.5)) == [2, 1, 3, 5, 4]


def test_groups_stand_by_importance_with_their_words() -> None:
    card = make_card(explanation(), LABELS)
    shown = [(g.name, g.psi, [(w.text, w.side, w.faint) for w in g.words]) for g in card.groups]
    assert shown == [
        ("G1", 0.6, [("guitar", "one", False)]),
        ("G2", 0.3, [("banjo", "two", False), ("guitar", "one", True)]),
        ("G3", 0.1, [("a", "one", False)]),
    ]
    assert card.groups[1].words[0].strength == 0.8
    idle = Groups((1, 4), ((0.9, 0.1), (0.2, 0.8)), (0.996, 0.004))
    assert [g.name for g in make_card(explanation(groups=idle), LABELS).groups] == ["G1"]


def test_a_group_without_a_word_is_neither_drawn_nor_numbered() -> None:
    phi = ((0.1, 0.45, 0.45), (0.0, 0.4, 0.6))  # of the first, no word is the most important's
    found = explanation(groups=Groups((1, 4), phi, (0.5, 0.2, 0.3)))
    card = make_card(found, LABELS)
    shown = [(g.name, tuple(w.text for w in g.words if not w.faint)) for g in card.groups]
    assert shown == [("G1", ("banjo",)), ("G2", ("guitar",))]
    assert [words for _, words in shown] == [group.words for group in found.word_groups]


def test_pairs_of_words_stand_by_the_strength_of_their_interaction(tmp_path: Path) -> None:
    shown = explanation(groups=None)
    n = len(shown.words1)
    pairs, values = ((0, n), (0, n + 1), (1, n)), (0.25, 0.0, -0.5)
    shown = explanation(groups=None, interactions=Interactions(pairs, values))
    card = make_card(shown, LABELS)
    assert [pair.value for pair in card.pairs] == [-0.5, 0.25, 0.0]
    assert [w.text for w in card.pairs[0].words] == [shown.words1[1], shown.words2[0]]
    html = page(tmp_path, shown)
    assert html.index("I -0.500") < html.index("I +0.250") < html.index("I +0.000")


def test_cards_tell_wrong_right_and_unknown_apart(tmp_path: Path) -> None:
    pairs = (explanation(), explanation(label=1), explanation(label=None))
    cards = [make_card(pair, LABELS) for pair in pairs]
    assert [(card.wrong, card.gold) for card in cards] == [
        (True, "entailment"), (False, LABELS[1]), (False, None)
    ]  # fmt: skip
    found = Elements(page(tmp_path, *pairs))
    assert len(found.of_class("card")) == 3
    assert len(found.of_class("gold")) == 2
    assert [tag for tag, a in found.tags if tag == "article" and "wrong" in (a["class"] or "")] == [
        "article"
    ]


def test_the_first_pairs_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    def pairs() -> Iterator[Explanation]:
        for i in range(7):
            yield explanation(id=f"pair-{i}")

    found = Elements(page(tmp_path, explanations=pairs(), max_pairs=2))
    assert len(found.of_class("card")) == 2
    assert "the first 2 of 7" in found.text
    assert "pair-1" in found.text
    assert "pair-2" not in found.text


@pytest.mark.parametrize(
    "name", ["aopc", "post_hoc_accuracy", "degradation", "sufficiency", "own_metric"]
)
def test_a_metric_that_is_not_meaningful_says_why(name: str, tmp_path: Path) -> None:
    result: dict[str, Any] = {"value": 4.31, "low": 4.0, "high": 5.0, "n": 9}
    curves = {"by_v": [1.0], "percent": [0, 100], "morf": [1.0, 0.0], "lerf": [1.0, 0.0]}
    result |= curves | {"floor": 0.125, "floor_low": 0.0625, "floor_high": 0.25}
    result |= {"meaningful": False, "why": "it divides by <0.0123>"}
    html = page(tmp_path, metrics={name: result})
    text = Elements(html).text
    assert "Not meaningful: it divides by <0.0123>." in text
    assert "<0.0123>" not in html
    assert "0.125" in text
    assert "0.062 to 0.250" in text
    assert ("on no words at all" in text) == (name == "sufficiency")
    assert ("not meaningful: see the table" in html) == (
        name in ("post_hoc_accuracy", "degradation")
    )
    html = page(tmp_path, metrics={name: result | {"meaningful": True}})
    assert "ot meaningful" not in html
    assert "4.310" in html
    assert "4.000 to 5.000" in html


def test_known_evidence_is_a_row_and_its_group_where_there_are_groups(tmp_path: Path) -> None:
    evidence = {"value": 0.91, "low": 0.85, "high": 0.96, "n": 90, "top_group": None}
    text = Elements(page(tmp_path, metrics={"evidence": evidence})).text
    assert "Evidence found" in text
    assert "0.910" in text
    assert "0.850 to 0.960" in text
    assert "in the top group" not in text
    assert "AUPRC" not in text
    evidence |= {"top_group": 0.93, "top_group_low": 0.88, "top_group_high": 0.98}
    evidence |= {"auprc": 0.95, "auprc_low": 0.94, "auprc_high": 0.97}
    text = Elements(page(tmp_path, metrics={"evidence": evidence})).text
    assert "in the top group" in text
    assert "0.930" in text
    assert "0.880 to 0.980" in text
    assert "AUPRC" in text
    assert "0.950" in text
    assert "0.940 to 0.970" in text


def table_rows(html: str) -> list[list[str]]:
    """The cells of the table of metrics that hold text, row by row."""
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    rows = [Elements(row).text.split("\n") for row in body.split("<tr")[1:]]
    return [[cell.strip() for cell in row if cell.strip()][1:] for row in rows]


def test_a_metric_the_page_does_not_know_is_a_row_with_its_parts(
    tmp_path: Path,
) -> None:
    part = {"value": 0.25, "low": 0.125, "high": 0.5}
    added = {
        "own_metric": {
            "value": 0.5,
            "low": 0.25,
            "high": 0.75,
            "n": 12,
            "by_fraction": {"0.01": part, "0.5": part, "1": {"value": None}},
            "iou_f1": 0.375,
            "iou_f1_low": 0.25,
            "iou_f1_high": 0.5,
        },
        "aopc": {"value": 0.125, "low": 0.0, "high": 0.25, "n": 12},
        "scoring": {"evaluations_per_pair": 31.0},
    }
    rows = table_rows(page(tmp_path, metrics=added))
    assert [row[0] for row in rows] == [
        "AOPC",
        "own metric",
        "fraction 0.01",
        "fraction 0.5",
        "iou f1",
    ]
    assert rows[1] == ["own metric", "0.500", "0.250 to 0.750", "12"]
    assert rows[2] == ["fraction 0.01", "0.250", "0.125 to 0.500"]
    assert rows[4] == ["iou f1", "0.375", "0.250 to 0.500"]


def test_several_removals_are_named_and_what_does_not_depend_on_them_is_not(
    tmp_path: Path,
) -> None:
    one, other = ({"aopc": {"value": v}, "own_metric": {"value": v}} for v in (0.5, 0.25))
    shared = {"agreement": {"value": 0.75}, "cost": {"evaluations_per_pair": 100.0}}
    metrics = {**one, **shared, "by_removal": {"pad": one, "mask": other}}
    rows = [row[:2] for row in table_rows(page(tmp_path, metrics=metrics))]
    assert rows == [
        ["AOPC (pad)", "0.500"],
        ["own metric (pad)", "0.500"],
        ["AOPC (mask)", "0.250"],
        ["own metric (mask)", "0.250"],
        ["agreement", "0.750"],
        ["Model evaluations", "100"],
    ]


def test_no_pairs_and_no_metrics_make_a_page(tmp_path: Path) -> None:
    found = Elements(page(tmp_path))
    assert found.of_class("card") == []
    assert "table" not in {tag for tag, _ in found.tags}


def test_a_failure_keeps_the_earlier_page(tmp_path: Path) -> None:
    before = page(tmp_path, explanation())
    with pytest.raises(UserError, match="2 classes but 1 label names"):
        page(tmp_path, explanation(), labels=("one",))
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("side", ["one", "two"])
def test_words_are_readable_at_every_strength(tmp_path: Path, side: str) -> None:
    """WCAG contrast of the ink on a fully saturated word: at least 7 (AAA)."""
    css = page(tmp_path)

    def luminance(rgb: list[int]) -> float:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (v / 255 for v in rgb)
        ]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    colour = re.search(rf"--{side}: (\d+) (\d+) (\d+)", css)
    ink = re.search(r"--ink: #(\w\w)(\w\w)(\w\w)", css)
    assert colour
    assert ink
    light = luminance([int(c) for c in colour.groups()])
    dark = luminance([int(c, 16) for c in ink.groups()])
    assert (light + 0.05) / (dark + 0.05) >= 7


def test_the_model_is_on_the_page_too(tmp_path: Path) -> None:
    html = page(
        tmp_path, explanation(), metrics={"model": {"accuracy": 0.5, "n": 2, "truncated": 3}}
    )
    text = Elements(html).text
    assert re.search(r"Model's accuracy\s+0\.500", text)
    assert re.search(r"Truncated pairs\s+3\b", text)
    whole = page(tmp_path, explanation(), metrics={"model": {"accuracy": None, "truncated": 0}})
    assert "Truncated" not in whole
    assert "accuracy" not in Elements(whole).text
