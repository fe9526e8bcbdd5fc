"""Paired tests between explainers: against scipy, by hand, and on cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import permutation_test
from torch import Tensor

from gmask_pl.metrics.faithfulness.aopc import AOPC
from gmask_pl.metrics.faithfulness.degradation import Degradation
from gmask_pl.metrics.faithfulness.post_hoc_accuracy import PostHocAccuracy
from gmask_pl.metrics.paired_tests import (
    Difference,
    compare,
    holm,
    rivals_of_the_best,
    seed_average,
    swap_test,
)

SETTINGS = {"resamples": 400, "permutations": 999, "seed": 0}


def mean(averages: Tensor) -> Tensor:
    return averages[..., 0]


def column(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))[:, None]


def scipy_p(a: np.ndarray, b: np.ndarray, resamples: int) -> float:
    found = permutation_test(
        (a, b),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(1),
    )
    return float(found.pvalue)


def test_seeds_are_averaged_pair_by_pair() -> None:
    one, two = {"b": (1.0, 0.0), "a": (0.0, 0.5)}, {"a": (1.0, 0.5), "b": (0.0, 1.0)}
    assert seed_average([one, two]).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert seed_average([one]).tolist() == [[0.0, 0.5], [1.0, 0.0]]
    with pytest.raises(ValueError, match="same pairs"):
        seed_average([one, {"a": (1.0, 1.0)}])


@pytest.mark.parametrize("seed", range(4))
def test_exact_p_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=9)
    b = a + rng.normal(0.3, 0.5, size=9)
    (p,) = swap_test([(column(a), column(b))], mean, permutations=600, seed=0)
    assert p == pytest.approx(scipy_p(a, b, 2**9), abs=1e-12)


def test_random_p_is_scipys_within_its_error() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=60)
    b = a + rng.normal(0.1, 0.6, size=60)
    (p,) = swap_test([(column(a), column(b))], mean, permutations=20_000, seed=0)
    assert p == pytest.approx(scipy_p(a, b, 20_000), abs=0.012)


def test_p_of_random_swaps_is_never_zero() -> None:
    a, b = column(np.ones(100)), column(np.zeros(100))
    assert swap_test([(a, b)], mean, permutations=999, seed=0) == [pytest.approx(1 / 1000)]


def test_p_of_alike_explainers_is_about_uniform() -> None:
    rng = np.random.default_rng(5)
    samples = [(column(rng.normal(size=10)), column(rng.normal(size=10))) for _ in range(300)]
    ps = np.array(swap_test(samples, mean, permutations=2000, seed=0))
    for level in (0.1, 0.3, 0.5, 0.8):
        assert abs((ps <= level).mean() - level) < 0.08


def test_holm_by_hand() -> None:
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, then 0.04 * 1, which may not fall below the last.
    found = holm([0.01, 0.04, None, 0.03, 0.005])
    assert found == [pytest.approx(p) if p else None for p in (0.03, 0.06, None, 0.06, 0.02)]
    assert holm([None]) == [None]


def test_known_differences_are_found_and_others_not() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(0.4, 0.2, size=80)
    tables = {
        "better": column(base + 0.1 + rng.normal(0, 0.05, size=80)),
        "one": column(base + rng.normal(0, 0.05, size=80)),
        "same": column(base + rng.normal(0, 0.05, size=80)),
    }
    found = {(d.first, d.second): d for d in compare(tables, mean, **SETTINGS)}
    assert set(found) == {("better", "one"), ("better", "same"), ("one", "same")}
    sure, unsure = found["better", "one"], found["one", "same"]
    assert sure.value == pytest.approx(float((tables["better"] - tables["one"]).mean()))
    assert sure.low is not None
    assert sure.low > 0.08
    assert sure.high is not None
    assert sure.high < 0.12
    assert sure.corrected is not None
    assert sure.corrected < 0.01
    assert unsure.low is not None
    assert unsure.high is not None
    assert unsure.low < 0 < unsure.high
    assert unsure.corrected is not None
    assert unsure.corrected > 0.05
    assert sure.n == 80


def test_the_interval_is_paired() -> None:
    values = np.random.default_rng(0).normal(size=50)
    tables = {"a": column(values + 1), "b": column(values)}
    (d,) = compare(tables, mean, **SETTINGS)
    assert (d.value, d.low, d.high) == tuple(pytest.approx(1.0) for _ in range(3))


def test_the_degradation_score_is_compared_as_the_ratio_it_is() -> None:
    rng = np.random.default_rng(1)
    whole = rng.uniform(0.3, 0.6, size=(40, 1))
    morf, lerf = rng.uniform(0, 0.2, size=(40, 9)), rng.uniform(0.3, 0.5, size=(40, 9))
    good = torch.from_numpy(np.hstack([whole, morf, lerf]))
    bad = torch.from_numpy(np.hstack([whole, lerf, morf]))
    (d,) = compare({"good": good, "bad": bad}, Degradation.summary, **SETTINGS)
    score = float(Degradation.summary(good.mean(0)))
    assert d.value == pytest.approx(2 * score)
    assert d.low is not None
    assert 0 < d.low < 2 * score
    assert d.p == pytest.approx(1 / 1000)


def test_an_undefined_difference_takes_no_part() -> None:
    zero, other = torch.zeros(5, 19, dtype=torch.float64), torch.rand(5, 19, dtype=torch.float64)
    found = compare({"a": zero, "b": other, "c": other}, Degradation.summary, **SETTINGS)
    assert [(d.value is None, d.p is None, d.corrected is None) for d in found] == [
        (True, True, True),
        (True, True, True),
        (False, False, False),
    ]


def test_only_the_same_pairs_are_compared() -> None:
    with pytest.raises(ValueError, match="same pairs"):
        compare({"a": torch.zeros(3, 1), "b": torch.zeros(4, 1)}, mean, **SETTINGS)


def test_the_summary_of_a_metric_is_its_value() -> None:
    """What is compared is what the metric itself reports."""
    rows = torch.rand(30, 19, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bootstrap = {"resamples": 10, "seed": 0}
    metrics = (
        (AOPC(max_removed=3, **bootstrap), rows[:, :1]),
        (PostHocAccuracy(max_words=10, **bootstrap), rows[:, :10]),
        (Degradation(steps=10, min_denominator=0.0, **bootstrap), rows),
    )
    for metric, own in metrics:
        summary = float(type(metric).summary(own.mean(0)))
        assert metric.result(own)["value"] == pytest.approx(summary), type(metric).__name__


def difference(first: str, second: str, corrected: float | None) -> Difference:
    return Difference(first, second, 10, 0.1, 0.0, 0.2, corrected, corrected)


def test_the_best_and_its_rivals() -> None:
    values = {"a": 0.5, "b": 0.48, "c": 0.2}
    tests = [difference("a", "b", 0.3), difference("a", "c", 0.01), difference("b", "c", 0.01)]
    assert rivals_of_the_best(values, tests, higher=True, level=0.05) == {"a", "b"}
    assert rivals_of_the_best(values, tests, higher=False, level=0.05) == {"c"}
    assert rivals_of_the_best(values, tests, higher=True, level=0.4) == {"a"}
    assert rivals_of_the_best(values, tests, higher=None, level=0.05) == set()
    assert rivals_of_the_best({"a": 0.5}, [], higher=True, level=0.05) == set()
