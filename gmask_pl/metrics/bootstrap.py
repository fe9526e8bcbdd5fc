"""Percentile bootstrap intervals of statistics of averages over examples (Efron, 1979)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LEVEL = 0.95
_DRAWS_AT_ONCE = 2**20  # bounds memory to some 30 MB however many examples there are

Statistic = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic of averages over n examples, with its 95 % interval.

    averages (R,); value, low, high (K,), float64. An undefined number is NaN.
    """

    n: int
    averages: Tensor
    value: Tensor
    low: Tensor
    high: Tensor

    def headline(self) -> dict[str, float | int | None]:
        """The first component of the statistic, as JSON can hold it."""
        return {
            "value": numbers(self.value)[0],
            "low": numbers(self.low)[0],
            "high": numbers(self.high)[0],
            "n": self.n,
        }


def numbers(values: Tensor) -> list[float | None]:
    """Values (K,) as JSON can hold them: None for what is not finite.

    >>> import torch
    >>> from gmask_pl.metrics.bootstrap import numbers
    >>> numbers(torch.tensor([0.5, torch.nan]))
    [0.5, None]
    """
    return [float(v) if np.isfinite(v) else None for v in values.tolist()]


def estimate(rows: Tensor, statistic: Statistic, *, resamples: int, seed: int) -> Estimate:
    """The statistic of the averages of ``rows`` (n, R) over examples, and its interval.

    - rows: the numbers of each example.
    - statistic: maps averages (..., R) to (..., K).
    - resamples: how many; each draws n examples with replacement and computes its own averages and
      statistic. The interval runs between the 2.5 % and 97.5 % quantiles, linearly interpolated.
    - seed: of the draws.

    Rules:

    - Rows are put in lexicographic order first, so the result depends on the seed and on which
      examples there are, not on the order, batches or processes they came in.
    - One example, or examples that are all alike, give low = high = value.
    - A resample whose statistic is undefined (NaN) counts as beyond both ends: a few of them
      widen the interval, more make it undefined.
    - The interval need not be symmetric about the value.

    Raises ValueError when there is no row.

    >>> import torch
    >>> from gmask_pl.metrics.bootstrap import estimate
    >>> rows = torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    >>> found = estimate(rows, lambda means: means, resamples=200, seed=0)
    >>> found.n, found.value.item(), bool(found.low < found.value < found.high)
    (4, 0.75, True)
    """
    if not len(rows):
        raise ValueError("a bootstrap needs at least one row")
    table = rows.detach().cpu().double().numpy()
    table = np.ascontiguousarray(table[np.lexsort(table.T[::-1])])
    averages = torch.from_numpy(table.mean(axis=0))
    drawn = statistic(resampled_averages(table, resamples=resamples, seed=seed)).numpy()
    low, high = interval(drawn)
    return Estimate(n=len(table), averages=averages, value=statistic(averages), low=low, high=high)


def interval(drawn: np.ndarray) -> tuple[Tensor, Tensor]:
    """The ends (K,) of the 95 % percentile interval of a statistic drawn (resamples, K).

    >>> import numpy as np
    >>> from gmask_pl.metrics.bootstrap import interval
    >>> low, high = interval(np.linspace(0, 1, 41)[:, None])
    >>> round(low.item(), 3), round(high.item(), 3)
    (0.025, 0.975)
    """
    tail = (1 - LEVEL) / 2
    low = _quantile(drawn, tail, undefined=-np.inf)
    return low, _quantile(drawn, 1 - tail, undefined=np.inf)


def resampled_averages(table: np.ndarray, *, resamples: int, seed: int) -> Tensor:
    """Averages (resamples, R) over n rows drawn with replacement from ``table`` (n, R) float64.

    An average is a product of the counts of each row with the rows, taken for so many resamples
    at a time that memory stays flat in n.

    >>> import numpy as np
    >>> from gmask_pl.metrics.bootstrap import resampled_averages
    >>> resampled_averages(np.array([[2.0], [2.0]]), resamples=3, seed=0).tolist()
    [[2.0], [2.0], [2.0]]
    """
    n = len(table)
    rng = np.random.default_rng(seed)
    chunk = max(1, _DRAWS_AT_ONCE // n)
    averages = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        averages.append(counts.astype(np.float64) @ table / n)
    return torch.from_numpy(np.concatenate(averages))


def _quantile(drawn: np.ndarray, q: float, *, undefined: float) -> Tensor:
    filled = np.where(np.isnan(drawn), undefined, drawn)
    with np.errstate(invalid="ignore"):  # between two infinities: NaN, which is meant
        found = np.quantile(filled, q, axis=0)
    return torch.from_numpy(np.where(np.isfinite(found), found, np.nan))
