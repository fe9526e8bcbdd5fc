"""Interactions inside groups, and words that a group does not need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from gmask_pl import (
    Explanation,
    ExplanationMetric,
    GroupExcess,
    GroupFit,
    GroupInteraction,
    PairExplainer,
    PairMetric,
)
from gmask_pl.metrics.groups.group_agreement import agreement
from gmask_pl.metrics.groups.group_interaction import faithful_interactions
from gmask_pl.types import Groups


def table_of(n: int) -> Tensor:
    return torch.rand(2**n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_interactions_are_those_of_shapiq(n: int) -> None:
    """Its exact order-2 FSII, an implementation of others."""
    import shapiq  # takes seconds

    table = table_of(n)

    def game(coalitions: np.ndarray) -> np.ndarray:
        return table[coalitions @ 2 ** np.arange(n)].numpy() - float(table[0])

    found = shapiq.ExactComputer(game, n_players=n)("FSII", order=2)
    single, double = faithful_interactions(table)
    for i in range(n):
        assert float(single[i]) == pytest.approx(found[(i,)], abs=1e-5)
    for i, j in combinations(range(n), 2):
        assert float(double[i, j]) == pytest.approx(found[(i, j)], abs=1e-5)


@pytest.mark.parametrize("n", [2, 4, 7])
def test_interactions_sum_up_and_give_back_a_model_of_order_two(n: int) -> None:
    table = table_of(n)
    single, double = faithful_interactions(table)
    total = single.sum() + double.sum() / 2
    assert float(total) == pytest.approx(float(table[-1] - table[0]))
    bits = ((torch.arange(2**n)[:, None] >> torch.arange(n)) & 1).double()
    planted, joint = torch.rand(n).double(), torch.rand(n, n).double().triu(1)
    again = 0.3 + bits @ planted + ((bits @ joint) * bits).sum(1)
    single, double = faithful_interactions(again)
    torch.testing.assert_close(single, planted)
    torch.testing.assert_close(double, joint + joint.T)


def measured(
    metric: PairMetric, model: Callable[[Tensor], Tensor], groups: list[int], **given: Any
) -> Any:
    """A metric of one pair, whose last half is the second text; model: masks (..., W) to p."""

    def ask(keep: Tensor) -> Tensor:
        p = model(keep).double()
        return torch.stack([p, 1 - p], -1)

    valid = torch.ones(1, len(groups), dtype=torch.bool)
    side = (torch.arange(len(groups)) >= len(groups) / 2).long()[None]
    whole = ExplanationMetric(metric)
    whole.update(
        ask, torch.rand(valid.shape), valid, ask(valid), torch.tensor([groups]), side=side, **given
    )
    return whole.compute()


def pairs_of(*joint: tuple[int, int, float]) -> Callable[[Tensor], Tensor]:
    """Words that add up, and two words that do more together."""

    def model(keep: Tensor) -> Tensor:
        on = keep.double()
        p = 0.1 + on @ torch.full((keep.shape[-1],), 0.02, dtype=torch.float64)
        return p + sum(more * on[..., i] * on[..., j] for i, j, more in joint)

    return model


@pytest.mark.parametrize(
    ("joint", "groups", "expected"),
    [
        (((0, 3, 0.4),), [0, 1, -1, 0, -1, -1], 1.0),
        (((0, 3, 0.4),), [0, 1, -1, 1, -1, -1], 0.0),
        (((0, 3, 0.4), (1, 5, 0.2)), [0, 1, -1, 0, -1, 1], 1.0),
        (((0, 3, 0.2), (1, 5, 0.4)), [0, 1, -1, 0, -1, -1], 0.0),
        (((0, 1, 0.4), (0, 3, 0.1)), [0, 1, -1, 0, -1, -1], 1.0),  # (0, 1) are of one text
    ],
)
def test_the_strongest_interaction_across_the_texts_is_looked_for(
    joint: tuple[tuple[int, int, float], ...], groups: list[int], expected: float
) -> None:
    could = torch.ones(1, 6, dtype=torch.bool)
    found = measured(GroupInteraction(), pairs_of(*joint), groups, candidates=could)
    sizes = np.bincount([one for one in groups if one >= 0])
    assert (found["value"], found["n"]) == (expected, 1)
    assert found["chance"] == pytest.approx(sum(s * (s - 1) for s in sizes) / 30, abs=1e-6)


def test_weak_and_negative_interactions_are_none() -> None:
    could = torch.ones(1, 4, dtype=torch.bool)
    for strength in (0.001, -0.05):
        small = pairs_of((0, 3, strength), (1, 2, -0.02), (0, 2, -0.02), (1, 3, -0.02))
        found = measured(
            GroupInteraction(), lambda k, own=small: 0.5 + own(k), [0, 1, 1, 0], candidates=could
        )
        assert found["n"] == 0
    assert measured(GroupInteraction(), pairs_of((0, 3, 0.4)), [-1] * 4)["n"] == 0
    model = pairs_of((0, 3, 0.4))
    assert measured(GroupInteraction(least=0.99), model, [0, 1, 1, 0])["n"] == 0


@pytest.mark.parametrize(
    ("model", "groups", "spare", "words"),
    [
        (lambda k: 0.1 + 0.8 * k[..., [0, 3]].all(-1), [0, 1, -1, 0, -1], 0, 2),
        (lambda k: 0.1 + 0.8 * k[..., [0, 3]].all(-1), [0, 0, -1, 0, 0], 2, 4),
        # one of two that stand in for one another: alone it does the same, but is not missed
        (lambda k: 0.1 + 0.8 * k[..., [0, 3]].any(-1), [0, 1, -1, 0, -1], 0, 2),
        (lambda k: 0.1 + 0.8 * k[..., [0, 3]].any(-1), [0, 0, 1, 0, 1], 1, 3),
    ],
)
def test_words_that_a_group_does_not_need_are_counted(
    model: Callable[[Tensor], Tensor], groups: list[int], spare: int, words: int
) -> None:
    found = measured(GroupExcess(), model, groups)
    assert found["value"] == pytest.approx(spare / words)
    assert found["n"] == 1


def test_pairs_without_a_group_of_several_words_have_no_excess() -> None:
    assert measured(GroupExcess(), pairs_of((0, 3, 0.4)), [0, 1, -1, 2])["n"] == 0
    assert measured(GroupExcess(), lambda k: 0.9 - 0.2 * k[..., 0], [0, 0, -1, -1])["n"] == 0


def test_other_groups_stand_beside_a_fit() -> None:
    """Groups of the same sizes: drawn, and of neighbours, which here are the right ones."""
    could = torch.ones(1, 6, dtype=torch.bool)
    found = measured(
        GroupFit(), pairs_of((0, 1, 0.3), (2, 3, 0.3)), [0, -1, 0, 1, 1, -1], candidates=could
    )
    assert found["neighbours"] == pytest.approx(1, abs=0.05)
    assert max(found["groups"], found["random"]) < 0.6


def explained(words: str, groups: Groups, scores: tuple[float, ...]) -> Explanation:
    found = PairExplainer(lambda pairs: [1.0 for _ in pairs], method="random")(words, "x y")
    return replace(found, groups=groups, scores=scores)


def test_agreement_of_two_explanations_by_hand() -> None:
    """A word is gone, so positions move; candidates of no group are one cluster."""
    none, first, second = (0.0, 0.0), (1.0, 0.0), (0.0, 1.0)
    groups = Groups((0, 1, 2, 3, 4), (none, first, second, first, none), (0.7, 0.3))
    one = explained("a b c", groups, (1, 5, 4, 3, 2))
    groups = Groups((0, 1, 2, 3), (first, first, second, none), (0.6, 0.4))
    other = explained("b c", groups, (5, 3, 4, 2))
    found = agreement(one, other, {1: 0, 2: 1, 3: 2, 4: 3})
    assert found.rand == pytest.approx(adjusted_rand_score([0, 1, 0, 2], [0, 0, 1, 2]))
    assert found.jaccard == pytest.approx(1 / 3)  # b, x against b, c
    assert found.tau == pytest.approx(4 / 6)
    again = agreement(one, one)
    assert (again.rand, again.jaccard, again.tau) == pytest.approx((1, 1, 1))
    with pytest.raises(ValueError, match="words of the two explanations differ"):
        agreement(one, other, {0: 0})
    with pytest.raises(ValueError, match="give explanations with groups"):
        agreement(one, replace(one, groups=None))
