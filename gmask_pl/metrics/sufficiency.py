"""Sufficiency: what the prediction loses on its most important words alone (ERASER)."""

from __future__ import annotations

from torch import Tensor

from gmask_pl.metrics.curves import only_top_fractions
from gmask_pl.metrics.eraser import FractionMetric


class Sufficiency(FractionMetric):
    """Mean of p(y|x) - p(y|top words alone); DeYoung et al., Eq. 2; lower is better."""

    higher_is_better = False
    meaning = (
        "fall in the predicted class's probability on the top share of words alone: lower is "
        "better (ERASER)"
    )

    def masks(self, order: Tensor, n_words: Tensor) -> Tensor:
        return only_top_fractions(order, n_words, self.fractions)
