"""Comprehensiveness: what the prediction loses without its most important words (ERASER)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from torch import Tensor

from gmask_pl.metrics.faithfulness._fractions import FractionMetric
from gmask_pl.metrics.faithfulness.floor import loss_without_words, lost
from gmask_pl.metrics.faithfulness.removal_curves import without_top_fractions


class Comprehensiveness(FractionMetric):
    """Mean of p(y|x) - p(y|x without its top words); DeYoung et al., Eq. 1; higher is better."""

    meaning = "fall in the predicted class's probability without the top share of words (ERASER)"
    parts = MappingProxyType({"all_at_once": "the same fall without any word"})

    def masks(self, order: Tensor, n_words: Tensor) -> Tensor:
        return without_top_fractions(order, n_words, self.fractions)

    def beside(self, empty: Tensor) -> dict[str, Any]:
        """all_at_once: the fall without any word; meaningful as in `loss_without_words`."""
        return loss_without_words("all_at_once", self.estimate_of(empty, lost))
