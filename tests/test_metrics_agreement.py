"""Agreement with human highlights: by hand, against scikit-learn, and what is unknown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from conftest import make_example
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from gmask_pl.explanation import Explanation
from gmask_pl.metrics.plausibility.rationale_agreement import (
    RationaleAgreement,
    agreement_row,
    average_precision,
    span_matches,
    spans,
    top_words,
)
from gmask_pl.types import JSON, Highlight, PairExample, UserError

LABELS = ("yes", "no")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=1, max_size=12))
def test_average_precision_equals_sklearn_with_ties(words: list[tuple[int, bool]]) -> None:
    known = {i for i, (_, marked) in enumerate(words) if marked}
    scores = {i: score / 3 for i, (score, _) in enumerate(words)}
    if known:
        expected = average_precision_score([m for _, m in words], list(scores.values()))
        assert average_precision(scores, known) == pytest.approx(expected)
    else:
        with pytest.raises(ValueError, match="at least one"):
            average_precision(scores, known)


def test_average_precision_by_hand() -> None:
    scores = dict(enumerate((0.9, 0.5, 0.5, 0.1)))
    assert average_precision(scores, {0}) == 1
    assert average_precision(scores, {0, 1}) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert average_precision(scores, {3}) == pytest.approx(1 / 4)


def test_of_equal_scores_the_earlier_word_is_a_top_word() -> None:
    assert top_words({3: 0.5, 1: 0.5, 2: 0.7}, 2) == {1, 2}


def test_spans_end_with_their_side() -> None:
    assert spans({0, 1, 3, 4, 5}, 4) == [range(2), range(3, 4), range(4, 6)]
    assert spans(set(), 4) == []


def test_a_span_is_found_from_the_threshold_on() -> None:
    known = [range(4)]
    assert span_matches([range(2)], known, 0.5) == 1
    assert span_matches([range(2)], known, 0.51) == 0
    assert span_matches([range(1), range(2, 6)], known, 0.3) == 1  # 1/4, and 2 of 6


def highlight(words1: set[int] | None, words2: set[int] | None) -> Highlight:
    return Highlight(*(None if w is None else frozenset(w) for w in (words1, words2)))


def test_a_row_by_hand() -> None:
    # Two words, then four. Marked: 0 | 3 4; the three best words are 0 | 2 3.
    scores = (0.9, 0.1, 0.8, 0.7, 0.3, 0.2)
    row = agreement_row(scores, 2, highlight({0}, {1, 2}), 0.5)
    # Ranks of the marked words: 1, 3 and 4. Spans 0 | 2-3 against 0 | 3-4: IOU 1 and 1/3.
    assert row == pytest.approx(((1 + 2 / 3 + 3 / 4) / 3, 2 / 3, 1 / 2, 1 / 2))
    assert agreement_row(scores, 2, highlight({0}, {1, 2}), 1 / 3) == pytest.approx(
        ((1 + 2 / 3 + 3 / 4) / 3, 2 / 3, 1, 1)
    )


def test_words_of_a_side_that_nobody_annotated_take_no_part() -> None:
    scores = (9.0, 8.0, 0.1, 0.7, 0.3, 0.2)
    assert agreement_row(scores, 2, highlight(None, {1}), 0.5) == pytest.approx((1, 1, 1, 1))
    # Nothing marked on side one is a fact, though, and its words count against the scores.
    found = agreement_row(scores, 2, highlight(set(), {1}), 0.5)
    assert found == pytest.approx((1 / 3, 0, 0, 0))


@pytest.mark.parametrize(
    "marks", [(None, None), (set(), set()), (None, set()), (None, {0, 1, 2, 3}), ({0, 1}, None)]
)
def test_marks_that_every_ranking_agrees_with_do_not_count(
    marks: tuple[set[int] | None, set[int] | None],
) -> None:
    assert agreement_row((0.9, 0.1, 0.8, 0.7, 0.3, 0.2), 2, highlight(*marks), 0.5) is None


def agreement(pairs: list[tuple[tuple[float, ...], PairExample]]) -> tuple[JSON, dict]:
    metric = RationaleAgreement(iou_threshold=0.5, resamples=50, seed=0)
    for scores, e in pairs:
        found = Explanation(e.id, e.words1, e.words2, e.label, 0, (1.0,), scores, None, 0, 0, 0.0)
        metric.update(found, e)
    return json.loads(json.dumps(metric.compute(LABELS), allow_nan=False)), metric.rows


def pair(name: str, label: int, *marks: tuple[set[int] | None, set[int] | None]) -> PairExample:
    example = make_example(name, "a b", "c d e f", label)
    return replace(example, highlights=tuple(highlight(*mark) for mark in marks))


SCORES = (0.9, 0.1, 0.8, 0.7, 0.3, 0.2)


def test_a_pair_counts_once_with_the_mean_of_its_annotators() -> None:
    two = pair("two", 0, ({0}, {0}), ({1}, None), (None, set()))  # right, wrong, says nothing
    one = pair("one", 1, (None, {1}))  # second of its side
    found, rows = agreement([(SCORES, two), (SCORES, one), (SCORES, pair("none", 1))])
    assert rows["two"] == pytest.approx(((1 + 1 / 2) / 2, 1 / 2, 1 / 2, 1 / 2))
    assert rows["one"] == pytest.approx((1 / 2, 0, 0, 0))
    assert (found["n"], found["value"]) == (2, pytest.approx((3 / 4 + 1 / 2) / 2))
    assert found["token_f1"] == pytest.approx(1 / 4)
    assert found["iou_f1"] == pytest.approx(1 / 4)
    for name in ("token_f1", "iou_f1"):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    by_label, by_annotator = found["by_label"], found["by_annotator"]
    assert {name: part["n"] for name, part in by_label.items()} == {"yes": 1, "no": 1}
    assert by_label["yes"]["value"] == pytest.approx(3 / 4)
    assert {name: part["n"] for name, part in by_annotator.items()} == {"1": 2, "2": 1, "3": 0}
    assert by_annotator["1"]["value"] == pytest.approx((1 + 1 / 2) / 2)
    assert by_annotator["3"]["value"] is None


def test_iou_f1_is_of_the_averaged_precision_and_recall() -> None:
    # Precision and recall 1/2 and 1, then 1 and 1/2: F1 of the averages is 3/4, the mean F1 2/3.
    one = pair("one", 0, (None, {0, 1, 3}))  # best 0 1 and 2: a span of three, IOU 2/4
    two = pair("two", 0, (None, {0, 1, 2}))  # best 0 1 and 3: spans 0-1 (IOU 2/3) and 3
    found, rows = agreement([((0, 0, 0.9, 0.8, 0.7, 0.1), one), ((0, 0, 0.9, 0.8, 0.1, 0.7), two)])
    assert rows["one"][2:] == (1, 1 / 2)
    assert rows["two"][2:] == (1 / 2, 1)
    assert found["iou_f1"] == pytest.approx(3 / 4)


def test_no_highlights_give_no_number_and_no_error() -> None:
    found, rows = agreement([(SCORES, pair("none", 0))])
    assert rows == {}
    assert (found["n"], found["value"], found["token_f1"]) == (0, None, None)
    assert found["by_label"]["yes"]["n"] == 0
    assert found["by_annotator"] == {}


@pytest.mark.parametrize("threshold", [0, 1.5])
def test_a_threshold_out_of_range_is_named(threshold: float) -> None:
    with pytest.raises(UserError, match="RationaleAgreement.iou_threshold"):
        RationaleAgreement(iou_threshold=threshold, resamples=1, seed=0)
