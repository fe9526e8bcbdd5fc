"""The metrics' mathematics against plain loops over the paper's equations, and by hand."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gmask_pl.metrics.removal_curves import (
    area_over_curve,
    degradation_gains,
    degradation_score,
    degraded,
    normalised_curves,
    only_top,
    only_top_fractions,
    without_top,
    without_top_fractions,
    words_of_fractions,
)
from gmask_pl.question import predicted_answers

ORDER = torch.tensor([[2, 0, 1, 3], [1, 0, 2, 3]])  # the second pair has two words only
N_WORDS = torch.tensor([4, 2])


def kept(masks: Tensor) -> list[list[list[int]]]:
    return [[row.nonzero().flatten().tolist() for row in example] for example in masks]


def test_top_words_are_removed_one_after_the_other_until_none_is_left() -> None:
    masks = without_top(ORDER, N_WORDS, 5)
    assert masks.dtype == torch.bool
    assert masks.shape == (2, 5, 4)
    assert kept(masks) == [[[0, 1, 3], [1, 3], [3], [], []], [[0], [], [], [], []]]


def test_top_words_are_kept_until_the_pair_is_whole() -> None:
    assert kept(only_top(ORDER, N_WORDS, 5)) == [
        [[2], [0, 2], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3]],
        [[1], [0, 1], [0, 1], [0, 1], [0, 1]],
    ]


def test_degradation_removes_from_both_ends_and_then_everything() -> None:
    assert kept(degraded(ORDER, N_WORDS, 4)) == [
        [[0, 1, 3], [1, 3], [3], [0, 1, 2], [0, 2], [2], []],
        [[0], [0], [], [1], [1], [], []],  # floor(0.5 + 1/2) = 1, floor(1 + 1/2) = 1, 2
    ]


@pytest.mark.parametrize("steps", [2, 3, 7, 10])
def test_degradation_rounds_half_up_without_floating_point(steps: int) -> None:
    n_words = torch.arange(0, 61)
    order = torch.arange(60).expand(61, 60)
    masks = degraded(order, n_words, steps)
    for n in range(61):
        for i in range(1, steps):
            quotient, rest = divmod(i * n, steps)
            removed = quotient + (2 * rest >= steps)
            most, least = masks[n, i - 1], masks[n, steps - 2 + i]
            assert most.nonzero().flatten().tolist() == list(range(removed, n))
            assert least.nonzero().flatten().tolist() == list(range(n - removed))
        assert not masks[n, -1].any()


def test_a_pair_of_one_word_is_whole_below_half_and_empty_from_there_on() -> None:
    masks = degraded(torch.tensor([[0]]), torch.tensor([1]), 10).squeeze()
    half = [True] * 4 + [False] * 5
    assert masks.tolist() == [*half, *half, False]


def test_a_pair_without_words_is_only_ever_empty() -> None:
    order, none = torch.tensor([[0, 1]]), torch.tensor([0])
    for masks in (without_top(order, none, 3), only_top(order, none, 3), degraded(order, none, 4)):
        assert not masks.any()


def test_fractions_of_the_words_by_hand() -> None:
    tenth_and_half = (Fraction(1, 10), Fraction(1, 2))
    removed = without_top_fractions(ORDER, N_WORDS, tenth_and_half)
    assert kept(removed) == [[[0, 1, 3], [1, 3]], [[0], [0]]]  # the second pair: one word each
    alone = only_top_fractions(ORDER, N_WORDS, tenth_and_half)
    assert kept(alone) == [[[2], [0, 2]], [[1], [1]]]


@pytest.mark.parametrize("percent", [1, 5, 7, 10, 20, 29, 50, 100])
def test_a_fraction_is_rounded_up_without_floating_point(percent: int) -> None:
    # In floating point, 7 % of 100 words would be 8.
    n_words = torch.arange(0, 301)
    found = words_of_fractions(n_words, (Fraction(percent, 100),)).flatten().tolist()
    assert found == [n * percent // 100 + (n * percent % 100 > 0) for n in range(301)]


def test_the_predicted_class_is_that_of_the_whole_pair_and_the_first_of_equals() -> None:
    probabilities = torch.tensor([[[0.1, 0.9]], [[0.3, 0.7]]])
    whole = torch.tensor([[0.8, 0.2], [0.5, 0.5]])
    found = predicted_answers(probabilities, whole).value.flatten()
    assert found.tolist() == pytest.approx([0.1, 0.3])
    equal = torch.tensor([[[0.5, 0.5]]])
    assert predicted_answers(equal, torch.tensor([[0.5, 0.5]])).same.item()
    assert not predicted_answers(equal, torch.tensor([[0.4, 0.6]])).same.item()


def test_aopc_by_hand() -> None:
    # U = 2: (0.9 - 0.6) + (0.9 - 0.3) = 0.9, over U + 1 = 3.
    found = area_over_curve(torch.tensor([0.9]), torch.tensor([[0.6, 0.3]]))
    assert found.item() == pytest.approx(0.3)


def test_degradation_by_hand() -> None:
    # Two examples; averages p(x) = 0.8, p(x_o) = 0.3; MoRF at 50 %: 0.4, LeRF at 50 %: 0.7.
    gains = degradation_gains(
        torch.tensor([0.9, 0.7]), torch.tensor([[0.5, 0.9], [0.3, 0.5]]), torch.tensor([0.2, 0.4])
    )
    morf, lerf = normalised_curves(gains.double().mean(0))
    assert morf.tolist() == pytest.approx([1, 0.2, 0])
    assert lerf.tolist() == pytest.approx([1, 0.8, 0])
    assert degradation_score(morf, lerf).item() == pytest.approx(0.5 * 0.6)


def test_a_denominator_of_zero_leaves_the_curves_undefined() -> None:
    morf, lerf = normalised_curves(torch.tensor([[0.0, 0.1, 0.2], [0.5, 0.1, 0.2]]))
    assert morf[0].isnan().all()
    assert lerf[0].isnan().all()
    assert morf[1].tolist() == pytest.approx([1, 0.2, 0])


def test_equations_equal_plain_loops() -> None:
    generator = torch.Generator().manual_seed(3)
    whole = torch.rand(5, generator=generator, dtype=torch.float64)
    answers = torch.rand(5, 10, generator=generator, dtype=torch.float64)
    for b in range(5):
        total = 0.0
        for u in range(10):
            total += whole[b].item() - answers[b, u].item()
        assert area_over_curve(whole, answers)[b].item() == pytest.approx(total / 11)

    empty = torch.rand(5, generator=generator, dtype=torch.float64)
    curves = []
    for columns in (range(5), range(5, 10)):
        points = [math.fsum(whole.tolist()) / 5]
        points += [math.fsum(answers[:, c].tolist()) / 5 for c in columns]
        points += [math.fsum(empty.tolist()) / 5]
        curves.append([(p - points[-1]) / (points[0] - points[-1]) for p in points])
    heights = [low - most for most, low in zip(*curves, strict=True)]
    integral = sum((a + b) / 2 / 6 for a, b in itertools.pairwise(heights))
    morf, lerf = normalised_curves(degradation_gains(whole, answers, empty).mean(0))
    assert morf.tolist() == pytest.approx(curves[0])
    assert lerf.tolist() == pytest.approx(curves[1])
    assert degradation_score(morf, lerf).item() == pytest.approx(integral)


PROBABILITY = st.floats(0, 1, width=32)


@settings(max_examples=60, deadline=None)
@given(whole=PROBABILITY, removed=st.lists(PROBABILITY, min_size=1, max_size=12))
def test_aopc_is_bounded_by_u_over_u_plus_one(whole: float, removed: list[float]) -> None:
    bound = len(removed) / (len(removed) + 1)
    found = area_over_curve(torch.tensor([whole]), torch.tensor([removed])).item()
    assert -bound - 1e-6 <= found <= bound + 1e-6


@settings(max_examples=60, deadline=None)
@given(data=st.data(), inner=st.integers(1, 9))
def test_degradation_is_within_one_when_the_curves_are_and_reverses_sign(
    data: st.DataObject, inner: int
) -> None:
    between = st.lists(PROBABILITY, min_size=inner, max_size=inner)
    morf, lerf = data.draw(between), data.draw(between)
    gains = torch.tensor([1.0, *morf, *lerf], dtype=torch.float64)
    swapped = torch.tensor([1.0, *lerf, *morf], dtype=torch.float64)
    score = degradation_score(*normalised_curves(gains)).item()
    assert -1 <= score <= 1
    assert score == pytest.approx(-degradation_score(*normalised_curves(swapped)).item())


@settings(max_examples=60, deadline=None)
@given(data=st.data(), width=st.integers(1, 8), most=st.integers(1, 10))
def test_masks_keep_real_words_only_and_nest(data: st.DataObject, width: int, most: int) -> None:
    n = data.draw(st.integers(0, width))
    order = torch.tensor([[*data.draw(st.permutations(range(n))), *range(n, width)]])
    n_words = torch.tensor([n])
    removed, top = without_top(order, n_words, most)[0], only_top(order, n_words, most)[0]
    assert not removed[:, n:].any()
    assert not top[:, n:].any()
    assert removed.sum(1).tolist() == [max(n - u, 0) for u in range(1, most + 1)]
    assert torch.equal(top[:, :n], ~removed[:, :n])  # what is removed is what is kept alone
