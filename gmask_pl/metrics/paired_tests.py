"""Are two explainers different? Tests on the same pairs, with a correction for many of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from gmask_pl.metrics.bootstrap import interval, numbers, resampled_averages

Rows = Mapping[str, Sequence[float] | np.ndarray]  # the numbers of each pair, by its id
Summary = Callable[[Tensor], Tensor]  # of averages (..., R) over pairs: (...)
_SWAPS_AT_ONCE = 2**22  # bounds memory
_TIE = 1e-9  # differences this much below the observed one count as equal to it: rounding


@dataclass(frozen=True, slots=True)
class Difference:
    """The value of ``first`` less that of ``second`` on the same n pairs.

    low, high: its 95 % interval; p: two-sided, of no difference; corrected: by Holm over all
    differences of one comparison. An undefined number is None.
    """

    first: str
    second: str
    n: int
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    corrected: float | None


def seed_average(runs: Sequence[Rows]) -> Tensor:
    """The rows (n, R) float64 of the pairs, in the order of their ids, averaged over runs.

    Runs are those of one explainer with several seeds. Averaging before anything else keeps the
    pair the unit of every interval and test. Raises ValueError unless all have the same pairs.

    >>> from gmask_pl.metrics.paired_tests import seed_average
    >>> runs = [{"a": [1.0], "b": [0.0]}, {"b": [0.0], "a": [0.0]}]
    >>> seed_average(runs).tolist()
    [[0.5], [0.0]]
    """
    ids = sorted(runs[0])
    if not ids or any(sorted(run) != ids for run in runs):
        raise ValueError("runs to average must be of the same pairs, one at least")
    stacked = np.array([[list(run[id]) for id in ids] for run in runs], dtype=np.float64)
    return torch.from_numpy(stacked.mean(axis=0))


def compare(
    tables: Mapping[str, Tensor], summary: Summary, *, resamples: int, permutations: int, seed: int
) -> list[Difference]:
    """All differences between explainers, each given as its rows (n, R) of the same n pairs.

    - tables: the rows of every explainer, by its name.
    - summary: of averages (..., R) over pairs, as `RowMetric.summary`.
    - resamples, permutations, seed: of the interval and of the test.

    The interval is a paired percentile bootstrap: every resample draws pairs once for all
    explainers. The p-value is a paired permutation test of the summary itself, also where that
    is no mean over pairs (Eq. 11 is a ratio of averages): if two explainers are alike, their
    names may be swapped on any pair. Holm's correction is over all differences given back.
    Undefined differences take no part in it. Raises ValueError where their numbers differ.

    >>> import torch
    >>> from gmask_pl.metrics.paired_tests import compare
    >>> tables = {"gmask": torch.ones(6, 1).double(), "random": torch.zeros(6, 1).double()}
    >>> (found,) = compare(
    ...     tables, lambda means: means[..., 0], resamples=99, permutations=99, seed=0
    ... )
    >>> found.value, found.low, found.high, found.p  # 2 of the 2^6 swaps are as extreme
    (1.0, 1.0, 1.0, 0.03125)
    """
    if len({len(rows) for rows in tables.values()}) > 1:
        raise ValueError("explainers can only be compared on the same pairs")
    drawn = {
        name: summary(resampled_averages(rows.numpy(), resamples=resamples, seed=seed))
        for name, rows in tables.items()
    }
    pairs = list(combinations(tables, 2))
    ps = swap_test([(tables[a], tables[b]) for a, b in pairs], summary, permutations, seed)
    found = []
    for (a, b), p, corrected in zip(pairs, ps, holm(ps), strict=True):
        value = summary(tables[a].mean(0)) - summary(tables[b].mean(0))
        low, high = interval((drawn[a] - drawn[b])[:, None].numpy())
        ends = numbers(torch.stack([value, low[0], high[0]]))
        found.append(Difference(a, b, len(tables[a]), ends[0], ends[1], ends[2], p, corrected))
    return found


def swap_test(
    samples: Sequence[tuple[Tensor, Tensor]], summary: Summary, permutations: int, seed: int
) -> list[float | None]:
    """Two-sided p-values of paired permutation tests, for samples (n, R) and (n, R) each.

    It uses all 2^n ways to swap if there are at most ``permutations``, else as many random ones,
    with the observed way counted in, so that p is never 0 (Phipson and Smyth, 2010). All samples
    share their swaps. p is None if the observed difference is undefined; an undefined swap counts
    as extreme.

    >>> import torch
    >>> from gmask_pl.metrics.paired_tests import swap_test
    >>> one, other = torch.ones(6, 1).double(), torch.zeros(6, 1).double()
    >>> swap_test([(one, other), (one, one)], lambda means: means[..., 0], 99, seed=0)
    [0.03125, 1.0]
    """
    if not samples:
        return []
    n = len(samples[0][0])
    observed = [float(summary(a.mean(0)) - summary(b.mean(0))) for a, b in samples]
    # Every table takes part in many samples: its product with the swaps is made once.
    tables = {id(table): table for sample in samples for table in sample}
    extreme, total = np.zeros(len(samples)), 0
    for swaps in _swaps(n, permutations, seed):
        total += len(swaps)
        swapped = {key: swaps @ table / n for key, table in tables.items()}
        for i, (a, b) in enumerate(samples):
            moved = swapped[id(b)] - swapped[id(a)]
            null = (summary(a.mean(0) + moved) - summary(b.mean(0) - moved)).abs()
            inside = null < abs(observed[i]) - _TIE
            extreme[i] += len(swaps) - int(inside.sum())
    counted_in = 0 if 2**n <= permutations else 1
    ps = (extreme + counted_in) / (total + counted_in)
    return [float(p) if np.isfinite(o) else None for p, o in zip(ps, observed, strict=True)]


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's correction (1979) over the p-values that are known.

    >>> from gmask_pl.metrics.paired_tests import holm
    >>> holm([0.01, 0.04, None])
    [0.02, 0.04, None]
    """
    from statsmodels.stats.multitest import multipletests

    known = [p for p in ps if p is not None]
    corrected = iter(multipletests(known, method="holm")[1] if known else ())
    return [None if p is None else float(next(corrected)) for p in ps]


def rivals_of_the_best(
    values: Mapping[str, float],
    differences: Sequence[Difference],
    *,
    higher: bool | None,
    level: float,
) -> set[str]:
    """The best and those not significantly worse: corrected p of their difference above level.

    - values: of every explainer, by its name.
    - differences: of `compare`, under the same names.
    - higher: whether the highest value is the best, or the lowest; None: there is no best.
    - level: of the test, such as 0.05.

    >>> from gmask_pl.metrics.paired_tests import Difference, rivals_of_the_best
    >>> differences = [
    ...     Difference("gmask", "lime", 100, 0.01, -0.01, 0.03, p=0.3, corrected=0.3),
    ...     Difference("gmask", "random", 100, 0.4, 0.3, 0.5, p=0.001, corrected=0.002),
    ... ]
    >>> values = {"gmask": 0.6, "lime": 0.59, "random": 0.2}
    >>> sorted(rivals_of_the_best(values, differences, higher=True, level=0.05))
    ['gmask', 'lime']
    """
    if higher is None or len(values) < 2:
        return set()
    best = (max if higher else min)(values, key=lambda name: values[name])
    worse = {
        name
        for d in differences
        if best in (d.first, d.second) and d.corrected is not None and d.corrected < level
        for name in (d.first, d.second)
    }
    return {name for name in values if name == best or name not in worse}


def _swaps(n: int, permutations: int, seed: int) -> Iterator[Tensor]:
    """Which pairs to swap, (P, n) float64 of 0 and 1, in parts."""
    if n < 63 and 2**n <= permutations:
        ways = torch.arange(2**n)[:, None] >> torch.arange(n)
        yield (ways & 1).double()
        return
    rng = np.random.default_rng(seed)
    size = max(1, _SWAPS_AT_ONCE // n)
    for start in range(0, permutations, size):
        count = min(size, permutations - start)
        yield torch.from_numpy(rng.integers(0, 2, (count, n)).astype(np.float64))


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b of two orders of the same things; NaN if one of them ties throughout.

    >>> from gmask_pl.metrics.paired_tests import kendall_tau
    >>> round(kendall_tau([1, 2, 3], [1, 3, 2]), 3)
    0.333
    """
    from scipy.stats import kendalltau  # takes long to import

    return float(kendalltau(first, second).statistic)
