"""The mathematics of the metrics (Section 5.1), as pure functions on tensors.

Masks are built from ``order`` (B, W) int64, a permutation of 0..W-1 per pair that names the word
positions from the most to the least important, and ``n_words`` (B,), the number n of words the
pair has: the first n entries of ``order`` are its words, the others do not exist and are never
kept. Further letters: U words removed, V words kept, R inner points of a degradation curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor


def keep_ranks(order: Tensor, n_words: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Keep-masks (B, S, W) of the words whose rank r obeys first <= r < last.

    Rank 0 is the most important word; first and last broadcast to (B, S).

    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import keep_ranks
    >>> order, n_words = torch.tensor([[2, 0, 1]]), torch.tensor([3])  # word 2 comes first
    >>> first, last = torch.tensor([[0, 1]]), torch.tensor([[1, 3]])  # of two masks
    >>> keep_ranks(order, n_words, first, last).int().tolist()
    [[[0, 0, 1], [1, 1, 0]]]
    """
    rank = order.argsort(dim=1).unsqueeze(1)  # the inverse of a permutation is its argsort
    last = last.minimum(n_words.unsqueeze(1))
    return (rank >= first.unsqueeze(-1)) & (rank < last.unsqueeze(-1))


def without_top(order: Tensor, n_words: Tensor, max_removed: int) -> Tensor:
    """Masks (B, U, W) of the pair without its top u words, u = 1..U; without any where u >= n.

    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import without_top
    >>> order, n_words = torch.tensor([[2, 0, 1]]), torch.tensor([3])  # word 2 comes first
    >>> without_top(order, n_words, 2).int().tolist()
    [[[1, 1, 0], [0, 1, 0]]]
    """
    removed = torch.arange(1, max_removed + 1, device=order.device).unsqueeze(0)
    return keep_ranks(order, n_words, removed, n_words.unsqueeze(1))


def only_top(order: Tensor, n_words: Tensor, max_words: int) -> Tensor:
    """Masks (B, V, W) of the pair's top v words alone, v = 1..V; of the whole pair where v >= n.

    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import only_top
    >>> order, n_words = torch.tensor([[2, 0, 1]]), torch.tensor([3])  # word 2 comes first
    >>> only_top(order, n_words, 2).int().tolist()
    [[[0, 0, 1], [1, 0, 1]]]
    """
    kept = torch.arange(1, max_words + 1, device=order.device).unsqueeze(0)
    return keep_ranks(order, n_words, torch.zeros_like(kept), kept)


def words_of_fractions(n_words: Tensor, fractions: Sequence[Fraction]) -> Tensor:
    """ceil(fraction * n) (B, F), in whole-number arithmetic: the words in a fraction of a pair.

    So the smallest fraction of a pair that has words is one word. ERASER's paper leaves the
    rounding open and its scorer reads finished answers; its authors' baselines take the ceiling.

    >>> from fractions import Fraction
    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import words_of_fractions
    >>> words_of_fractions(torch.tensor([10]), [Fraction(1, 100), Fraction(1, 4)]).tolist()
    [[1, 3]]
    """
    top = torch.tensor([f.numerator for f in fractions], device=n_words.device)
    bottom = torch.tensor([f.denominator for f in fractions], device=n_words.device)
    return -(-n_words.unsqueeze(1) * top // bottom)


def without_top_fractions(order: Tensor, n_words: Tensor, fractions: Sequence[Fraction]) -> Tensor:
    """Masks (B, F, W) of the pair without each fraction of its words, the top ones.

    >>> from fractions import Fraction
    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import without_top_fractions
    >>> order, n_words = torch.tensor([[2, 0, 1]]), torch.tensor([3])  # word 2 comes first
    >>> without_top_fractions(order, n_words, [Fraction(1, 2)]).int().tolist()  # two words go
    [[[0, 1, 0]]]
    """
    removed = words_of_fractions(n_words, fractions)
    return keep_ranks(order, n_words, removed, n_words.unsqueeze(1))


def only_top_fractions(order: Tensor, n_words: Tensor, fractions: Sequence[Fraction]) -> Tensor:
    """Masks (B, F, W) of each fraction of the pair's words alone, the top ones.

    >>> from fractions import Fraction
    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import only_top_fractions
    >>> order, n_words = torch.tensor([[2, 0, 1]]), torch.tensor([3])  # word 2 comes first
    >>> only_top_fractions(order, n_words, [Fraction(1, 2)]).int().tolist()  # two words stay
    [[[1, 0, 1]]]
    """
    kept = words_of_fractions(n_words, fractions)
    return keep_ranks(order, n_words, torch.zeros_like(kept), kept)


def degraded(order: Tensor, n_words: Tensor, steps: int) -> Tensor:
    """Masks (B, 2R + 1, W) of the degradation test, R = steps - 1: R most relevant words first
    (MoRF), R least relevant first (LeRF), then the empty pair.

    At rho = i / steps, floor(rho * n + 1/2) words are removed, in whole-number arithmetic. The
    whole pair, rho = 0, is not asked about again.

    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import degraded
    >>> order, n_words = torch.tensor([[2, 0, 1]]), torch.tensor([3])  # word 2 comes first
    >>> degraded(order, n_words, 2).int().tolist()  # at 50 %: MoRF, LeRF; then the empty pair
    [[[0, 1, 0], [0, 0, 1], [0, 0, 0]]]
    """
    n = n_words.unsqueeze(1)
    i = torch.arange(1, steps, device=order.device).unsqueeze(0)
    removed = (2 * i * n + steps) // (2 * steps)
    zero = torch.zeros_like(removed)
    first = torch.cat([removed, zero, n], dim=1)
    last = torch.cat([n - zero, n - removed, n], dim=1)
    return keep_ranks(order, n_words, first, last)


def area_over_curve(whole: Tensor, removed: Tensor) -> Tensor:
    """Summand (B,) of Eq. 9: 1/(U+1) sum_u p(y|x) - p(y|x without the top u).

    whole (B,): p(y|x); removed (B, U). The sum has U terms but is divided by U + 1, as the
    equation has it, so the result lies in [-U/(U+1), U/(U+1)].

    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import area_over_curve
    >>> area_over_curve(torch.tensor([0.9]), torch.tensor([[0.5, 0.1]]))  # (0.4 + 0.8) / 3
    tensor([0.4000])
    """
    return (whole.unsqueeze(1) - removed).sum(dim=1) / (removed.shape[1] + 1)


def degradation_gains(whole: Tensor, inner: Tensor, empty: Tensor) -> Tensor:
    """By how much p(y|.) exceeds p(y|x_o), (B, 1 + 2R): the whole pair, MoRF, LeRF.

    whole, empty (B,): p(y|x), p(y|x_o); inner (B, 2R). Eq. 10 takes averages before it divides,
    and averages of differences are differences of averages, so these rows may be averaged.

    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import degradation_gains
    >>> whole, inner, empty = torch.tensor([0.9]), torch.tensor([[0.3, 0.8]]), torch.tensor([0.1])
    >>> degradation_gains(whole, inner, empty)
    tensor([[0.8000, 0.2000, 0.7000]])
    """
    return torch.cat([whole.unsqueeze(1), inner], dim=1) - empty.unsqueeze(1)


def normalised_curves(gains: Tensor) -> tuple[Tensor, Tensor]:
    """MoRF and LeRF curves of Eq. 10, each (..., R + 2), from averaged gains (..., 1 + 2R).

    Both are 1 at rho = 0 and 0 at rho = 1, and NaN throughout where the denominator, the first
    gain, is exactly 0.

    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import normalised_curves
    >>> normalised_curves(torch.tensor([0.8, 0.2, 0.7]))  # as of `degradation_gains`
    (tensor([1.0000, 0.2500, 0.0000]), tensor([1.0000, 0.8750, 0.0000]))
    """
    denominator, inner = gains[..., :1], gains[..., 1:]
    denominator = denominator.masked_fill(denominator == 0, torch.nan)
    one = denominator / denominator
    morf, lerf = (inner / denominator).chunk(2, dim=-1)
    return torch.cat([one, morf, 0 * one], dim=-1), torch.cat([one, lerf, 0 * one], dim=-1)


def degradation_score(morf: Tensor, lerf: Tensor) -> Tensor:
    """Eq. 11 (...): the integral of LeRF - MoRF over rho in [0, 1], by trapezoids.

    morf, lerf (..., P): curves at P equally spaced points, both ends included.

    >>> import torch
    >>> from gmask_pl.metrics.removal_curves import degradation_score
    >>> morf, lerf = torch.tensor([1.0, 0.25, 0.0]), torch.tensor([1.0, 0.875, 0.0])
    >>> degradation_score(morf, lerf)
    tensor(0.3125)
    """
    return torch.trapezoid(lerf - morf, dx=1 / (morf.shape[-1] - 1), dim=-1)
