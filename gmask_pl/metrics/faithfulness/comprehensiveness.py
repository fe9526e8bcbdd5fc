"""Comprehensiveness: what the prediction loses without its most important words (ERASER)."""

from __future__ import annotations

from torch import Tensor

from gmask_pl.metrics.faithfulness._fractions import FractionMetric
from gmask_pl.metrics.floor import loss_without_words, lost
from gmask_pl.metrics.pair_metric import RankedPairs
from gmask_pl.metrics.presentation import Part, Presentation
from gmask_pl.metrics.removal_curves import without_top_fractions
from gmask_pl.types import JSON


class Comprehensiveness(FractionMetric):
    """Mean of p(y|x) - p(y|x without its top words); DeYoung et al., Eq. 1; higher is better."""

    presentation = Presentation(
        meaning=(
            "fall in the predicted class's probability without the top share of words (ERASER)"
        ),
        unit="probability",
        range=(-1, 1),
        parts=(Part("all_at_once", "the same fall without any word"),),
    )

    def masks(self, pairs: RankedPairs) -> Tensor:
        return without_top_fractions(pairs.order, pairs.n_words, self.fractions)

    def beside(self, rows: Tensor, empty: Tensor) -> JSON:
        """all_at_once: the fall without any word; meaningful as in `loss_without_words`."""
        return loss_without_words("all_at_once", self.estimate(empty, lost))
