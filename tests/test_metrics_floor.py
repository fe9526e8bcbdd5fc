"""What the empty pair gives, and which metrics say that they can tell nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gmask_pl.metrics.faithfulness.aopc import AOPC
from gmask_pl.metrics.faithfulness.comprehensiveness import Comprehensiveness
from gmask_pl.metrics.faithfulness.degradation import Degradation
from gmask_pl.metrics.faithfulness.post_hoc_accuracy import PostHocAccuracy
from gmask_pl.metrics.faithfulness.sufficiency import Sufficiency
from gmask_pl.metrics.floor import EMPTY, empty_rows
from gmask_pl.metrics.pair_metric import PairMetric, evaluate
from gmask_pl.question import predicted_answers

DRAWN = {"resamples": 500, "seed": 0}


def all_metrics(**drawn: int) -> dict[str, PairMetric]:
    given = DRAWN | drawn
    return {
        "aopc": AOPC(max_removed=4, **given),
        "post_hoc_accuracy": PostHocAccuracy(max_words=4, **given),
        "degradation": Degradation(steps=5, min_denominator=0.05, **given),
        "comprehensiveness": Comprehensiveness(fractions=[0.2, 0.5], **given),
        "sufficiency": Sufficiency(fractions=[0.2, 0.5], **given),
    }


def scored(p: Tensor, whole: Tensor, **drawn: int) -> dict[str, dict[str, Any]]:
    """Results for pairs of 8 words that are answered by how many of them are kept.

    p (n, 8): the probability of class 0 with 0 to 7 words; whole (n,): with all.
    """
    by_count = torch.cat([p, whole[:, None]], 1)
    n = len(p)

    def ask(keep: Tensor) -> Tensor:
        found = by_count.gather(1, keep.sum(2))
        return torch.stack([found, 1 - found], -1)

    valid = torch.ones(n, 8, dtype=torch.bool)
    metrics = all_metrics(**drawn)
    answers = ask(valid[:, None])[:, 0]
    rows = evaluate(metrics, ask, torch.zeros(n, 8), valid, answers)
    return {name: metric.compute(rows[name], rows[EMPTY]) for name, metric in metrics.items()}


def test_what_the_empty_pair_says_by_hand() -> None:
    empty, whole = torch.tensor([[0.7, 0.3], [0.6, 0.4]]), torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    expected = torch.tensor([[0.9, 0.7, 1.0], [0.8, 0.4, 0.0]])
    answers = predicted_answers(empty[:, None], whole)
    torch.testing.assert_close(empty_rows(answers, whole.amax(1)), expected)


def test_floors_by_hand() -> None:
    """Of four pairs one keeps its prediction without any word, three need two words for it."""
    p = torch.tensor([[0.6] + [0.8] * 7] + [[0.2, 0.2] + [0.8] * 6] * 3)
    found = scored(p, torch.full((4,), 0.9))
    accuracy = found["post_hoc_accuracy"]
    assert accuracy["empty"] == "floor"
    assert accuracy["floor"] == pytest.approx(1 / 4)
    value = (1 + 3 * 3 / 4) / 4  # of the three, one of the four numbers of words is too few
    assert accuracy["value"] == pytest.approx(value)
    assert accuracy["above_floor"] == pytest.approx((value - 1 / 4) / (3 / 4))
    loss = (0.3 + 3 * 0.7) / 4
    assert found["aopc"]["all_at_once"] == pytest.approx(loss * 4 / 5)
    assert found["comprehensiveness"]["all_at_once"] == pytest.approx(loss)
    assert found["degradation"]["denominator"] == pytest.approx(loss)
    sufficiency = found["sufficiency"]
    assert sufficiency["floor"] == pytest.approx(loss)
    assert sufficiency["above_floor"] == pytest.approx((loss - sufficiency["value"]) / loss)
    for name, result in found.items():
        assert result["meaningful"] is True, name
        assert "why" not in result, name
        part = result["empty"]
        assert result[f"{part}_low"] <= result[part] <= result[f"{part}_high"]


def test_the_interval_above_the_floor_is_that_of_resampled_pairs() -> None:
    """Value and floor are of the same draw of pairs, as in a loop over resamples."""
    p = torch.rand(12, 8, generator=torch.Generator().manual_seed(3))
    whole = torch.full((12,), 0.9)
    found = scored(p, whole, resamples=4000)["post_hoc_accuracy"]
    right = (p > 0.5).double().numpy()
    kept, none = right[:, 1:5].mean(1), right[:, 0]
    rng = np.random.default_rng(1)
    draws = rng.integers(0, 12, (20_000, 12))
    values = (kept[draws].mean(1) - none[draws].mean(1)) / (1 - none[draws].mean(1))
    ends = np.quantile(values, [0.025, 0.975])
    assert [found["above_floor_low"], found["above_floor_high"]] == pytest.approx(ends, abs=0.06)
    assert found["above_floor"] == pytest.approx((kept.mean() - none.mean()) / (1 - none.mean()))


def test_where_no_prediction_needs_a_word_no_metric_tells_anything() -> None:
    """As on PAWS under the mask token: whatever is kept, the model says the same as surely."""
    found = scored(torch.full((30, 8), 0.95), torch.full((30,), 0.9))
    accuracy = found["post_hoc_accuracy"]
    assert (accuracy["value"], accuracy["floor"], accuracy["above_floor"]) == (1, 1, None)
    for name, result in found.items():
        assert result["meaningful"] is False, name
    assert "of 1.000 [1.000, 1.000] of the pairs" in accuracy["why"]
    assert "removing all at once costs -0.040 [-0.040, -0.040]" in found["aopc"]["why"]


def test_few_pairs_that_need_words_are_not_enough() -> None:
    """One of twelve: the interval of the floor reaches 1. Of 12 that need them, none does."""
    p = torch.full((12, 8), 0.7)
    p[0, 0] = 0.1
    found = scored(p, torch.full((12,), 0.9))["post_hoc_accuracy"]
    assert found["floor_high"] == 1
    assert found["meaningful"] is False
    p[:, 0] = 0.1
    found = scored(p, torch.full((12,), 0.9))["post_hoc_accuracy"]
    assert (found["floor_high"], found["meaningful"]) == (0, True)


def test_a_denominator_that_may_be_nothing_is_not_meaningful() -> None:
    """As on HANS under delete: large enough on average, but of few pairs that differ much."""
    p = torch.full((12, 8), 0.5)
    p[:, 0] = torch.tensor([0.9] * 7 + [0.65] * 3 + [0.3, 0.35])
    found = scored(p, torch.full((12,), 0.85))["degradation"]
    assert found["denominator"] == pytest.approx(0.108, abs=1e-3)  # well above min_denominator
    assert found["denominator_low"] < 0.05 < found["denominator_high"]
    assert found["meaningful"] is False
    assert f"difference, 0.108 [{found['denominator_low']:.3f}, " in found["why"]
    many = scored(p.repeat(60, 1), torch.full((720,), 0.85))["degradation"]
    assert many["denominator"] == pytest.approx(found["denominator"])
    assert many["denominator_low"] > 0.05
    assert many["meaningful"] is True


def test_value_and_interval_are_those_without_the_empty_pair() -> None:
    p = torch.rand(9, 8, generator=torch.Generator().manual_seed(0))
    for name, metric in all_metrics().items():
        rows = torch.rand(9, {"aopc": 1, "post_hoc_accuracy": 4, "degradation": 9}.get(name, 2))
        alone = metric.result(rows)
        with_empty = metric.compute(rows, torch.rand(9, 3))
        assert all(with_empty[key] == alone[key] for key in ("value", "low", "high", "n"))
    assert scored(p, torch.full((9,), 0.9))["aopc"]["n"] == 9


def test_the_floor_is_the_same_for_every_explainer() -> None:
    """To the last bit, so that no verdict depends on what is explained."""
    empty = torch.rand(15, 3, generator=torch.Generator().manual_seed(0)).double()
    empty[:, 2] = empty[:, 2].round()
    found = []
    for seed in (1, 2):
        metric = PostHocAccuracy(max_words=4, **DRAWN)
        rows = torch.rand(15, 4, generator=torch.Generator().manual_seed(seed))
        told = metric.beside(rows, empty)
        found.append([told[f"floor{end}"] for end in ("", "_low", "_high")])
    assert found[0] == found[1]
