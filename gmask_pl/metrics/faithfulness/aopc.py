"""AOPC: how much the prediction loses when the most important words go (Section 5.1.1)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gmask_pl.metrics.floor import loss_without_words, lost
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import Part, Presentation
from gmask_pl.metrics.removal_curves import area_over_curve, without_top
from gmask_pl.question import Answers
from gmask_pl.settings import Count, checked
from gmask_pl.types import JSON


class AOPC(PairMetric):
    """Area over the perturbation curve, Eq. 9; higher means more comprehensive explanations.

    - max_removed: U, words (Section 5.1.1). A pair of n < U words is empty for every u >= n, so the
      answer about the empty pair counts for these u. A pair without any word scores 0.
    - resamples, seed: of the 95 % bootstrap interval over pairs.

    The result lies in [-U/(U+1), U/(U+1)]. all_at_once is its value if every word goes at the first
    step. This is not a bound, since losing some words may cost more than losing all. It says how
    much of the probability depends on words.

    >>> import torch
    >>> from gmask_pl import AOPC, ExplanationMetric
    >>> def ask(keep):  # the first word decides: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., 0], 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 1.0, 2.0]])
    >>> metric = ExplanationMetric(AOPC(max_removed=2))
    >>> metric.update(ask, scores, valid, ask(valid))
    >>> found = metric.compute()
    >>> round(found["value"], 3), round(found["all_at_once"], 3)  # 2 * 0.8 / 3
    (0.533, 0.533)
    """

    presentation = Presentation(
        title="AOPC",
        heading="AOPC",
        meaning="fall in what is explained as the top words are removed (Eq. 9)",
        unit="probability",
        range=(-1, 1),
        parts=(Part("all_at_once", "AOPC where every word goes at the first step"),),
        place=1,
    )

    @checked
    def __init__(self, *, max_removed: Count = 10, **bootstrap: Any) -> None:
        super().__init__(**bootstrap)
        self.max_removed = max_removed

    def masks(self, pairs: RankedPairs) -> Tensor:
        return without_top(pairs.order, pairs.n_words, self.max_removed)

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        return area_over_curve(pairs.whole, answers.value)[:, None]

    def beside(self, rows: Tensor, empty: Tensor) -> JSON:
        """all_at_once with its interval; meaningful as in `loss_without_words`."""
        share = self.max_removed / (self.max_removed + 1)  # the sum has one term less than Eq. 9
        found = self.estimate(empty, lambda means: share * lost(means))
        return loss_without_words("all_at_once", found)
