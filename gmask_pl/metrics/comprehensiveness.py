"""Comprehensiveness: what the prediction loses without its most important words (ERASER)."""

from __future__ import annotations

from torch import Tensor

from gmask_pl.metrics.curves import without_top_fractions
from gmask_pl.metrics.eraser import FractionMetric


class Comprehensiveness(FractionMetric):
    """Mean of p(y|x) - p(y|x without its top words); DeYoung et al., Eq. 1; higher is better."""

    meaning = "fall in the predicted class's probability without the top share of words (ERASER)"

    def masks(self, order: Tensor, n_words: Tensor) -> Tensor:
        return without_top_fractions(order, n_words, self.fractions)
