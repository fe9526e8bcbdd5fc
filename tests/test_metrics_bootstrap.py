"""Bootstrap intervals: rules, an independent implementation, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from gmask_pl.metrics import bootstrap
from gmask_pl.metrics.bootstrap import estimate, numbers, resampled_averages


def mean(averages: Tensor) -> Tensor:
    return averages


def ratio(averages: Tensor) -> Tensor:
    return (averages[..., :1] / averages[..., 1:]).where(averages[..., 1:] != 0, torch.nan)


def random_rows(n: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(n, width, generator=torch.Generator().manual_seed(seed))


def test_equals_scipy_on_the_same_draws() -> None:
    rows = random_rows(40, 1).sort(dim=0).values
    found = estimate(rows, mean, resamples=500, seed=5)
    expected = scipy.stats.bootstrap(
        (rows.double().numpy().ravel(),),
        np.mean,
        n_resamples=500,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert found.low.item() == pytest.approx(expected.low, abs=1e-12)
    assert found.high.item() == pytest.approx(expected.high, abs=1e-12)


def test_a_statistic_is_taken_of_each_resamples_averages() -> None:
    rows = random_rows(12, 2, seed=1) + 0.2
    table = rows[torch.from_numpy(np.lexsort(rows.numpy().T[::-1]).copy())].double().numpy()
    rng, drawn = np.random.default_rng(7), []
    for _ in range(300):
        picked = table[rng.integers(0, 12, 12)].mean(axis=0)
        drawn.append(picked[0] / picked[1])
    found = estimate(rows, ratio, resamples=300, seed=7)
    assert found.value.item() == pytest.approx(table[:, 0].mean() / table[:, 1].mean())
    assert found.low.item() == pytest.approx(np.quantile(drawn, 0.025))
    assert found.high.item() == pytest.approx(np.quantile(drawn, 0.975))
    assert found.n == 12


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    trials, covered = 400, 0
    for trial in range(trials):
        rows = torch.from_numpy((rng.random((80, 1)) < 0.3).astype(np.float64))
        found = estimate(rows, mean, resamples=300, seed=trial)
        covered += found.low.item() <= 0.3 <= found.high.item()
    assert 0.91 <= covered / trials <= 0.98


def test_order_of_the_rows_does_not_matter_and_the_seed_does() -> None:
    rows = random_rows(30, 3)
    shuffled = rows[torch.randperm(30, generator=torch.Generator().manual_seed(2))]
    one, two = (estimate(r, mean, resamples=100, seed=4) for r in (rows, shuffled))
    other = estimate(rows, mean, resamples=100, seed=5)
    for name in ("value", "low", "high"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert torch.equal(one.value, other.value)
    assert not torch.equal(one.low, other.low)


def test_drawing_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = random_rows(9, 2).double().numpy()
    at_once = resampled_averages(table, resamples=50, seed=1)
    for draws in (1, 20, 91):  # one, two and ten resamples at a time
        monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", draws)
        torch.testing.assert_close(resampled_averages(table, resamples=50, seed=1), at_once)


@pytest.mark.parametrize("n", [1, 7])
def test_one_example_or_equal_examples_have_no_spread(n: int) -> None:
    found = estimate(torch.tensor([[0.25, 0.75]]).repeat(n, 1), mean, resamples=50, seed=0)
    assert found.value.tolist() == found.low.tolist() == found.high.tolist() == [0.25, 0.75]


def test_no_row_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        estimate(torch.empty(0, 2), mean, resamples=50, seed=0)


def test_few_undefined_resamples_widen_and_many_undo_the_interval() -> None:
    def undefined_share(share: float) -> bootstrap.Estimate:
        def statistic(averages: Tensor) -> Tensor:
            if averages.ndim == 1:
                return averages
            gap = torch.arange(len(averages)) < share * len(averages)
            return averages.masked_fill(gap.unsqueeze(1), torch.nan)

        return estimate(random_rows(20, 1), statistic, resamples=1000, seed=0)

    defined, few, many = (undefined_share(share) for share in (0, 0.01, 0.05))
    assert few.low < defined.low
    assert few.high > defined.high
    assert many.headline() == {**defined.headline(), "low": None, "high": None}


def test_numbers_hold_nothing_that_json_does_not() -> None:
    assert numbers(torch.tensor([0.5, torch.nan, torch.inf, -torch.inf])) == [0.5, None, None, None]
