"""An explanation says what was found, and is read as text, table, page and picture."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zoo
from conftest import explainer_of
from PIL import Image

from gmask_pl import Explanations, PairExplainer, read_explanations
from gmask_pl.api import Truncated
from gmask_pl.drawing.cards import make_card
from gmask_pl.drawing.html import script
from gmask_pl.drawing.legend import facts, legend
from gmask_pl.drawing.picture import DPI, MARGIN, NARROW, SIZE, WIDTH, Layout, Piece, laid_out
from gmask_pl.explainers.methods import METHODS, method_named
from gmask_pl.explanation import TRUNCATED, Explanation, counted
from gmask_pl.pipeline.one_pair import shown as in_terminal
from gmask_pl.seed_agreement import disagreement
from gmask_pl.types import Groups, UserError

ONE, TWO = "  Two dogs run,\nthey say! ", "\tA dog sleeps."
HOSTILE = ("<script>alert(1)</script>", "\x1b[2J", "$\\frac{1}{2}$", "\u202eevil", "]]>&amp;")


def shared(pairs: list[tuple[str, str]]) -> list[float]:
    """How many letters both texts have."""
    return [float(len(set(a.lower()) & set(b.lower()))) for a, b in pairs]


def explained(**changes: Any) -> Explanation:
    given: dict[str, Any] = {
        "id": "1",
        "words1": ("a", "guitar", "here"),
        "words2": ("a", "banjo"),
        "label": None,
        "prediction": 1,
        "probabilities": (0.25, 0.75),
        "scores": (0.0, 0.5, -0.25, 0.1, 1.0),
        "groups": Groups((1, 4, 0), ((0.9, 0.1), (0.8, 0.2), (0.2, 0.8)), (0.6, 0.4), (0.7, 0.3)),
        "evaluations": 8,
        "gradients": 0,
        "seconds": 0.1,
        "labels": ("no", "yes"),
        "value": 0.75,
        "question": "probability of the predicted class",
    }
    return Explanation(**given | changes)


@pytest.mark.parametrize("unit", ["word", "sentence", ["sentence", "word"]])
def test_spans_lie_in_the_texts_as_they_were_given(unit: Any) -> None:
    found = PairExplainer(shared, method="occlusion", unit=unit)(ONE, TWO)
    assert (found.text1, found.text2) == (ONE, TWO)
    for text, spans, words in (
        (ONE, found.spans1, found.words1),
        (TWO, found.spans2, found.words2),
    ):
        assert spans is not None
        assert tuple(text[start:end] for start, end in spans) == words


def test_spans_of_tokens_and_of_a_clean_text() -> None:
    model = zoo.made("bert")
    found = PairExplainer(model, method="random", unit="token")(ONE, TWO)
    assert found.spans1
    assert found.text1 == ONE
    pieces = [ONE[start:end].lower() for start, end in found.spans1]
    assert pieces[:5] == [word.removeprefix("##") for word in found.words1[:5]]
    assert "".join(pieces) == "".join(ONE.lower().split())  # the tiny tokenizer knows no signs
    clean = PairExplainer(model, method="random", clean=True)(ONE, TWO)
    assert clean.text1 == "two dogs run , they say !"
    assert clean.spans1
    assert tuple(clean.text1[start:end] for start, end in clean.spans1) == clean.words1


def test_what_a_group_does_is_what_the_model_says_of_it() -> None:
    found = PairExplainer(shared, method=method_named("gmask_two_sided"))(
        "dogs run far away", "a cat sleeps here"
    )
    assert found.word_groups
    for group in found.word_groups:
        texts = []
        for kept in (True, False):
            sides: list[list[str]] = [[], []]
            for i, (word, side) in enumerate(zip(found.words, found.sides, strict=True)):
                if (i in group.positions) is kept:
                    sides[side - 1].append(word)
            texts.append((" ".join(sides[0]), " ".join(sides[1])))
        assert [group.kept_alone, group.removed] == pytest.approx(shared(texts))
        assert f"alone {group.kept_alone:.3f}, without {group.removed:.3f}" in str(group)
    paper = PairExplainer(shared, method="gmask")("dogs run", "a cat")
    assert all(group.kept_alone is not None for group in paper.word_groups)
    assert all(group.removed is None for group in paper.word_groups)  # it has not asked


def test_every_method_says_what_its_scores_mean() -> None:
    usual = "the higher, the more a word counts"
    for name in METHODS:
        assert method_named(name).score_meaning != usual, name


def test_a_truncated_pair_warns_and_tells_the_words_that_were_not_read(tmp_path: Path) -> None:
    model = zoo.made("bert")
    explain = PairExplainer(model.network, model.tokenizer, method="random", max_length=16)
    with pytest.warns(Truncated):
        found = explain("a dog " * 20, "a cat")
    assert found.warnings == (TRUNCATED,)
    short = explain("a dog", "a cat")
    assert (short.warnings, short.unread) == ((), ())

    tokens = model.tokenizer("a dog " * 20, "a cat", truncation="longest_first", max_length=16)
    read = set(zip(tokens.sequence_ids(), tokens.word_ids(), strict=True))
    words = [(0, i) for i in range(40)] + [(1, 0), (1, 1)]
    assert found.unread == tuple(i for i, word in enumerate(words) if word not in read)
    first, _ = make_card(found, found.labels).sides
    assert [i for i, word in enumerate(first) if word.unread] == list(found.unread)
    assert first[-1].title == "not read by the model"
    page = found.save(tmp_path / "page.html").read_text("utf-8")
    assert "were not read by the model" in page


def test_another_removal_than_the_usual_one_is_a_warning() -> None:
    found = PairExplainer(zoo.made("convbert"), method="random")("a dog", "a cat")
    assert found.removal == "mask"
    (told,) = found.warnings
    assert told.startswith("removal=mask, as pad is not right for this model")


def test_seeds_that_disagree_are_a_warning() -> None:
    random = PairExplainer(shared, method="random", seeds=4)(ONE, TWO)
    assert random.warnings == ("unstable: the word with the highest score changes with the seed",)
    same = PairExplainer(shared, method="occlusion", seeds=4)(ONE, TWO)
    assert same.warnings == ()
    alone = PairExplainer(shared, method="random")(ONE, TWO)
    assert alone.scores == random.scores


def test_seeds_disagree_where_top_groups_share_less_than_half() -> None:
    one = explained()
    assert disagreement([one]) == ""
    half = replace(one, groups=Groups((1, 0), ((0.9, 0.1), (0.1, 0.9)), (0.6, 0.4)))
    assert disagreement([one, half]) == ""
    other = replace(one, groups=Groups((0, 3), ((0.9, 0.1), (0.8, 0.2)), (0.6, 0.4)))
    assert disagreement([one, other]) == "unstable: the most important group changes with the seed"
    assert "highest score and the most" in disagreement([one, replace(other, scores=(9.0,) * 5)])


def test_a_repr_is_one_line_that_a_person_can_read() -> None:
    assert repr(explained(warnings=("so",))) == (
        "<Explanation of 'a guitar here' | 'a banjo': yes 0.750; banjo +1.00, guitar +0.50, "
        "a +0.10; 1 warning>"
    )
    hostile = repr(explained(text1="\x1b[2J" + "x" * 100, scores=(0.0,) * 5))
    assert hostile.isprintable()
    assert hostile.endswith("x…' | 'a banjo': yes 0.750; no word counts>")


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ((1e-9, 0.5, -1e-9, 0.1, 1e-3), (0.0, 0.5, 0.0, 0.1, 1e-3)),
        ((1e-9, -1e-9, 1e-9, 0.0, 0.0), (0.0,) * 5),
        ((1e-3, -1e-3, 5e3, 1.0, -1.0), (0.0, 0.0, 5e3, 1.0, -1.0)),  # against the largest
        ((), ()),
    ],
)
def test_rounding_errors_count_as_no_score(
    scores: tuple[float, ...], told: tuple[float, ...]
) -> None:
    assert counted(scores) == told


def test_a_word_that_changes_nothing_is_not_told_to_count() -> None:
    noise = explained(scores=(1e-9, -1e-9, 1e-9, 0.0, -1e-9), groups=None)
    words = [word for side in make_card(noise, noise.labels).sides for word in side]
    assert not any(word.top or word.negative or word.strength for word in words)
    assert repr(noise).endswith("no word counts>")
    assert Explanations([noise]).to_frame()["top_words"].tolist() == [""]
    assert "\x1b[3" not in in_terminal(noise, noise.labels, colours=True)
    assert "-0.00" not in in_terminal(noise, noise.labels, colours=False)
    assert noise.scores[0] == 1e-9
    assert noise.top(1) == [("a", 1e-9)]  # as it was found


@pytest.mark.parametrize("kind", ["html", "svg", "png"])
def test_it_is_saved_as_the_name_says(kind: str, tmp_path: Path) -> None:
    found = explained(words1=HOSTILE[:3], words2=HOSTILE[3:], warnings=("unstable: so",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of characters without a font
        path = found.save(tmp_path / f"one.{kind}")
    assert [file.name for file in tmp_path.iterdir()] == [f"one.{kind}"]
    if kind == "png":
        with Image.open(path) as picture:
            width, height = picture.size
        assert width == NARROW / 72 * DPI
        assert height > 200
        return
    text = path.read_text("utf-8").replace(f"<script>{script()}</script>", "", 1)
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    for shown in ("&lt;script&gt;alert(1)", r"\x1b[2J", r"$\frac{1}{2}$", r"\u202eevil"):
        assert shown in text
    assert ("unstable: so" in text) == (kind == "html")  # a picture draws it word by word
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", text)


def test_another_kind_of_file_is_refused_and_nothing_written(tmp_path: Path) -> None:
    for wrong in ("one.pdf", "one", "one.parquet"):
        with pytest.raises(UserError, match=r"save an explanation as \.html, \.svg or \.png"):
            explained().save(tmp_path / wrong)
    with pytest.raises(UserError, match=r"save a list as \.html"):
        Explanations([explained()]).save(tmp_path / "one.png")
    assert not list(tmp_path.iterdir())


def picture(found: Explanation) -> Layout:
    card = make_card(found, found.labels)
    return laid_out(card, facts([found]), lambda text, size, bold: size * len(text) / 2)


def text_of(pieces: Iterable[Piece]) -> str:
    return " ".join(piece.text for piece in pieces)


def test_a_picture_holds_every_word_within_its_borders() -> None:
    words = tuple(f"word{i}" for i in range(60))
    found = explained(words1=words, words2=("x" * 300,), scores=(1.0,) * 61, groups=None)
    layout = picture(found)
    drawn = [piece for piece in layout.pieces if piece.word is not None]
    assert [piece.text for piece in drawn[:60]] == list(words)
    assert all(p.x >= MARGIN and p.x + p.width <= WIDTH - MARGIN + 1e-6 for p in layout.pieces)
    assert all(MARGIN < piece.y < layout.height - MARGIN for piece in layout.pieces)
    rows = [(piece.y, piece.x) for piece in drawn]
    assert rows == sorted(rows)
    arabic = explained(words1=("كان", "الرجل"), words2=("هنا",), scores=(1.0,) * 3, groups=None)
    first, second, _ = [p for p in picture(arabic).pieces if p.word and p.size == SIZE]
    assert first.x > second.x


def test_a_picture_is_as_wide_as_what_is_on_it() -> None:
    short, middle, long = (
        picture(explained(words1=("word",) * n, scores=(1.0,) * (n + 2), groups=None))
        for n in (1, 14, 90)
    )
    assert (short.width, long.width) == (NARROW, pytest.approx(WIDTH, abs=40))
    assert NARROW < middle.width < WIDTH
    for layout in (short, middle, long):
        assert all(p.x + p.width <= layout.width - MARGIN + 1e-6 for p in layout.pieces)
    widest = max(piece.x + piece.width for piece in middle.pieces)
    assert middle.width == pytest.approx(widest + MARGIN)


@pytest.mark.parametrize("unit", ["many words and then " * 30 + "end", "x" * 1000, "跑" * 300])
def test_a_long_unit_takes_several_rows_and_loses_nothing(unit: str) -> None:
    groups = Groups((0, 2), ((0.9, 0.1), (0.8, 0.2)), (0.6, 0.4))
    found = explained(words1=(unit, "b"), words2=("c",), scores=(1.0, -0.5, 0.1), groups=groups)
    layout = picture(found)
    parts = [p for p in layout.pieces if p.word is not None and p.word.text == unit]
    drawn = "".join(piece.text for piece in parts).replace(" ", "")
    assert drawn == 2 * unit.replace(" ", "")  # in its text, and in its group
    assert all(p.x + p.width <= layout.width - MARGIN + 1e-6 for p in parts)
    assert len({piece.y for piece in parts}) == len(parts) > 4
    if " " in unit:  # it is cut between words
        assert {word for p in parts for word in p.text.split()} == set(unit.split())


def test_a_word_that_is_only_ranked_is_not_said_to_speak_against() -> None:
    """Of the words that could not be grouped, nobody knows what they do."""
    for groups, expected in (
        (explained().groups, [False] * 5),
        (None, [False, False, True] + [False] * 2),
    ):
        card = make_card(explained(groups=groups), ("no", "yes"))
        assert [word.negative for side in card.sides for word in side] == expected


def test_a_picture_and_a_page_say_alike_what_they_show(tmp_path: Path) -> None:
    scores = (-0.25, 0.5, 0.0, 0.1, 1.0)
    found = explained(method="occlusion", removal="pad", score_meaning="so and so", scores=scores)
    said = text_of(picture(found).pieces)
    for fact in ("Method: occlusion.", "removed by: pad.", "Scores: so and so."):
        assert fact in said
    assert "Explained: probability of the predicted class." in said
    page = found.save(tmp_path / "one.html").read_text("utf-8")
    guide = re.sub(r"<[^>]+>", "", page[page.index('class="guide"') : page.index("<h2>")])
    told = "".join(
        part if isinstance(part, str) else part.text
        for part in legend([make_card(found, found.labels)])
    )
    assert told in guide
    assert told.replace(" ", "") in said.replace(" ", "")
    for sign in (
        "side one in pink",
        "side two in blue",
        "dashed line",
        "ψ",
        "the number that is explained",
    ):
        assert sign in told
    # What is not there is not told.
    plain = explained(scores=(0.0,) * 5, groups=None)
    said = text_of(picture(plain).pieces)
    assert "side one in pink" in said
    for sign in ("dashed", "Outlined", "ψ", "model says", "Method"):
        assert sign not in said


def test_a_comparison_says_what_a_and_b_are() -> None:
    found = PairExplainer(shared, method="occlusion").compare("dogs", "a dog", "a cat")
    told = "A is the document before ‖, B the one after it."
    assert told in found._repr_html_()
    assert told in text_of(picture(found).pieces)
    alone = explained(text2="a\x1ebanjo", labels=("no", "yes"))
    assert told not in alone._repr_html_()


def test_words_stand_as_they_do_in_the_text() -> None:
    found = PairExplainer(shared, method="occlusion")("don't (run)", "他在跑。")
    (one, two) = make_card(found, found.labels).sides
    assert "".join(w.before + w.text + w.after for w in one) == "don't (run)"
    assert "".join(w.before + w.text + w.after for w in two) == "他在跑。"
    compared = PairExplainer(shared, method="occlusion").compare("dogs", "a dog", "a cat")
    documents = make_card(compared, compared.labels).sides[1]
    assert "".join(w.before + w.text + w.after for w in documents) == "a dog ‖ a cat"
    pieces = explained(text1="a guitar here", spans1=((0, 1), (2, 8), (9, 12)))  # "her", not "here"
    assert [w.before for w in make_card(pieces, pieces.labels).sides[0]] == ["", " ", " "]


def test_a_list_is_a_table_a_page_and_a_file(tmp_path: Path) -> None:
    explain = PairExplainer(shared, method=explainer_of("gmask", "explainer.k=3"))
    found = explain.many([(ONE, TWO), ("a", "b"), ("dogs run", "dogs")])
    assert isinstance(found, Explanations)
    frame = found.to_frame()
    assert frame["text1"].tolist() == [ONE, "a", "dogs run"]
    assert frame["value"].tolist() == shared([(ONE, TWO), ("a", "b"), ("dogs run", "dogs")])
    assert frame["top_group"][2] == " ".join(found[2].top_group)
    again = list(read_explanations(found.to_parquet(tmp_path / "e.parquet")))
    assert again == found
    page = found.save(tmp_path / "page.html").read_text("utf-8")
    assert page.count("<article") == 3
    assert "GMask" in page
    assert found._repr_html_().count("<article") == 3
    assert repr(found).count("\n") == 2
    assert Explanations().to_frame().empty
    assert Explanations().save(tmp_path / "none.html").exists()


def test_a_notebook_shows_cards_with_no_script_but_ours() -> None:
    html = explained(words1=HOSTILE[:3], words2=HOSTILE[3:])._repr_html_()
    assert html.count("<script") == 1
    assert f"<script>{script()}</script>" in html
    assert html.count("<article") == 1
    # Its style holds for itself alone.
    style = html[html.index("<style>") : html.index("</style>")]
    assert all(line.startswith(".gmask") for line in re.findall(r"^[^\s@].*{", style, re.M))


def test_a_list_is_of_one_model_and_slices_are_lists_of_its_kind(tmp_path: Path) -> None:
    other = explained(labels=("different", "same"))
    mixed = Explanations([explained()]) + Explanations([other])
    assert isinstance(mixed, Explanations)
    for save in (mixed.save, mixed.to_parquet):
        with pytest.raises(UserError, match="have the labels .* keep those of one model together"):
            save(tmp_path / "mixed.html")
    assert not list(tmp_path.iterdir())
    assert isinstance(mixed[:1], Explanations)
    assert mixed[:1].save(tmp_path / "one.html").exists()
    assert mixed[1] == other


@pytest.mark.parametrize("kind", ["html", "svg"])
def test_a_name_of_something_else_is_refused(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / f"x.{kind}"
    folder.mkdir()
    os.mkfifo(tmp_path / f"pipe.{kind}")
    for path in (folder, tmp_path / f"pipe.{kind}", tmp_path / f"a\0b.{kind}"):
        with pytest.raises(UserError, match=r"give another name|no name of a file"):
            explained().save(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"pipe.{kind}", f"x.{kind}"]
