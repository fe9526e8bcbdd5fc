"""AOPC: how much the prediction loses when the most important words go (Section 5.1.1)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from torch import Tensor

from gmask_pl.metrics.faithfulness.floor import loss_without_words, lost
from gmask_pl.metrics.faithfulness.removal_curves import (
    area_over_curve,
    predicted_probability,
    without_top,
)
from gmask_pl.metrics.pair_metric import PairMetric
from gmask_pl.settings import Count, Seed, checked


class AOPC(PairMetric):
    """Area over the perturbation curve, Eq. 9; higher means more comprehensive explanations.

    max_removed: U. A pair of n < U words is empty for every u >= n, so the model's answer to the
    empty pair stands in for those u; a pair without any word scores what the empty pair gives,
    0. The result lies in [-U/(U+1), U/(U+1)].

    all_at_once: what it is where every word goes at the first step. That is no bound, as losing
    some words may cost more than losing all, but says how much of the probability hangs on words.
    """

    parts = MappingProxyType({"all_at_once": "AOPC where every word goes at the first step"})

    @checked
    def __init__(self, *, max_removed: Count, resamples: Count, seed: Seed) -> None:
        super().__init__(n_masks=max_removed, width=1, resamples=resamples, seed=seed)
        self.max_removed = max_removed

    def masks(self, order: Tensor, n_words: Tensor) -> Tensor:
        return without_top(order, n_words, self.max_removed)

    def score(self, probabilities: Tensor, whole: Tensor, n_words: Tensor) -> Tensor:
        unmasked = predicted_probability(whole.unsqueeze(1), whole).squeeze(1)
        return area_over_curve(unmasked, predicted_probability(probabilities, whole)).unsqueeze(1)

    def compute(self) -> dict[str, Any]:
        """value, low, high, n."""
        return self.estimate(lambda averages: averages).headline()

    def beside(self, empty: Tensor) -> dict[str, Any]:
        """all_at_once with its interval; meaningful as in `loss_without_words`."""
        share = self.max_removed / (self.max_removed + 1)  # the sum has one term less than Eq. 9
        found = self.estimate_of(empty, lambda means: share * lost(means))
        return loss_without_words("all_at_once", found)
