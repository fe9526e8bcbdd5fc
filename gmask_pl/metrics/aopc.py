"""AOPC: how much the prediction loses when the most important words go (Section 5.1.1)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gmask_pl.metrics.base import PairMetric
from gmask_pl.metrics.curves import area_over_curve, predicted_probability, without_top
from gmask_pl.settings import Count, Seed, checked


class AOPC(PairMetric):
    """Area over the perturbation curve, Eq. 9; higher means more comprehensive explanations.

    max_removed: U. A pair of n < U words is empty for every u >= n, so the model's answer to the
    empty pair stands in for those u; a pair without any word scores what the empty pair gives,
    0. The result lies in [-U/(U+1), U/(U+1)].
    """

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
