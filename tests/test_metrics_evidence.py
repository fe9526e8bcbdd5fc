"""Recovery of known evidence, by hand."""

from __future__ import annotations

import pytest

from gmask_pl.metrics.evidence import evidence_recovery, top_group
from gmask_pl.types import Explanation, Groups

GROUPS = Groups(candidates=(0, 2, 3), phi=((0.9, 0.1), (0.2, 0.8), (0.6, 0.4)), psi=(0.7, 0.3))


def explained(name: str, scores: tuple[float, ...], groups: Groups | None = None) -> Explanation:
    words = ("a", "b"), ("c", "d")
    return Explanation(name, *words, 0, 0, (1.0,), scores, groups, 0, 0, 0.0)


def test_top_group_is_by_highest_membership() -> None:
    assert top_group(GROUPS) == {0, 3}


def test_shares_by_hand() -> None:
    explanations = [
        explained("hit", (4, 1, 0, 3), GROUPS),  # words 0 and 3 lead, and share the top group
        explained("half", (0, 4, 0, 3), GROUPS),  # words 1 and 3 lead
        explained("either", (4, 3, 0, 0), GROUPS),  # the second alternative leads
        explained("unknown", (1, 1, 1, 1), GROUPS),
    ]
    evidence = {
        "hit": (frozenset({0, 3}),),
        "half": (frozenset({0, 3}),),
        "either": (frozenset({1, 2}), frozenset({0, 1})),
        "unknown": (),
    }
    found = evidence_recovery(explanations, evidence, resamples=50)
    assert found is not None
    assert (found["value"], found["n"]) == (pytest.approx(2 / 3), 3)
    assert found["top_group"] == pytest.approx(2 / 3)
    assert found["low"] <= found["value"] <= found["high"]


def test_no_evidence_and_no_groups() -> None:
    pairs = [explained("one", (1, 0, 0, 1))]
    assert evidence_recovery(pairs, {}, resamples=50) is None
    found = evidence_recovery(pairs, {"one": (frozenset({0, 3}),)}, resamples=50)
    assert found is not None
    assert found["value"] == 1
    assert found["top_group"] is None
