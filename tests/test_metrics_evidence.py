"""Recovery of planted evidence, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import make_example

from gmask_pl.explanation import Explanation
from gmask_pl.metrics.paired_tests import compare, seed_average
from gmask_pl.metrics.plausibility.evidence import EvidenceRecovery, evidence_precision, top_group
from gmask_pl.types import JSON, Groups, PairExample

GROUPS = Groups(candidates=(0, 2, 3), phi=((0.9, 0.1), (0.2, 0.8), (0.6, 0.4)), psi=(0.7, 0.3))


def explained(name: str, scores: tuple[float, ...], groups: Groups | None = None) -> Explanation:
    words = ("a", "b"), ("c", "d")
    return Explanation(name, *words, 0, 0, (1.0,), scores, groups, 0, 0, 0.0)


def pair(name: str, *evidence: set[int]) -> PairExample:
    return replace(make_example(name, "a b", "c d"), evidence=tuple(map(frozenset, evidence)))


def recovery(pairs: list[tuple[Explanation, PairExample]]) -> tuple[JSON | None, EvidenceRecovery]:
    metric = EvidenceRecovery(resamples=50, seed=0)
    for explanation, example in pairs:
        metric.update(explanation, example)
    return metric.compute(("yes",)), metric


def test_top_group_is_by_highest_membership() -> None:
    assert top_group(GROUPS) == {0, 3}


def test_shares_by_hand() -> None:
    found, metric = recovery(
        [
            (explained("hit", (4, 1, 0, 3), GROUPS), pair("hit", {0, 3})),
            (explained("half", (0, 4, 0, 3), GROUPS), pair("half", {0, 3})),  # 1 and 3 lead
            (explained("either", (4, 3, 0, 0), GROUPS), pair("either", {1, 2}, {0, 1})),
            (explained("unknown", (1, 1, 1, 1), GROUPS), pair("unknown")),
        ]
    )
    assert found is not None
    assert (found["value"], found["n"]) == (pytest.approx(2 / 3), 3)
    assert found["top_group"] == pytest.approx(2 / 3)
    assert found["low"] <= found["value"] <= found["high"]
    # half: word 3 is second of the four (1/2), word 0 ties with word 2 (2/4).
    assert metric.rows["half"] == pytest.approx((0, (1 / 2 + 2 / 4) / 2, 1, 1))
    assert found["auprc"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["auprc_low"] <= found["auprc"] <= found["auprc_high"]
    assert set(metric.rows) == {"hit", "half", "either"}


@pytest.mark.parametrize(
    ("scores", "area"),
    [
        ((4, 3, 2, 1, 0), 1),  # one group alone leads
        ((4, 2, 3, 1, 0), 1),  # both groups lead, interleaved
        ((1, 0, 3, 2, 9), (1 / 2 + 2 / 3) / 2),  # the other word leads, then one group
        ((2, 0, 1, 0, 9), (1 / 2 + 2 / 3) / 2),  # word 1 ties with none that counts against it
    ],
)
def test_one_of_the_groups_is_enough_and_the_other_no_error(
    scores: tuple[float, ...], area: float
) -> None:
    evidence = (frozenset({0, 1}), frozenset({2, 3}))
    assert evidence_precision(scores, evidence) == pytest.approx(area)


def test_no_evidence_and_no_groups() -> None:
    one = explained("one", (1, 0, 0, 1))
    assert recovery([(one, pair("one"))])[0] is None
    found, _ = recovery([(one, pair("one", {0, 3}))])
    assert found is not None
    assert (found["value"], found["auprc"], found["top_group"]) == (1, 1, None)


def test_explainers_with_and_without_groups_are_compared() -> None:
    tables = {}
    for name, groups in (("with", GROUPS), ("without", None)):
        pairs = [
            (explained(str(i), (4, i % 2, 0, 3), groups), pair(str(i), {0, 3})) for i in range(4)
        ]
        _, metric = recovery(pairs)
        tables[name] = seed_average([metric.rows])
    summary = EvidenceRecovery.summary
    (found,) = compare(tables, summary, resamples=20, permutations=100, seed=0)
    assert (found.value, found.p) == (0.0, 1.0)


def test_scores_of_word_pieces_are_left_out_and_counted() -> None:
    pieces = replace(explained("one", (1, 0, 0, 1, 0)), words2=("c", "d", "##e"))
    found, metric = recovery(
        [
            (pieces, pair("one", {0})),
            (replace(pieces, id="two"), pair("two")),
            (explained("three", (1, 0, 0, 0)), pair("three", {0})),
        ]
    )
    assert found is not None
    assert (found["n"], found["value"], metric.left_out) == (1, 1, 1)
