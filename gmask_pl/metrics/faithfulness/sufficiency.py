"""Sufficiency: what the prediction loses on its most important words alone (ERASER)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from gmask_pl.metrics.faithfulness._fractions import FractionMetric
from gmask_pl.metrics.faithfulness.floor import loss_without_words, lost, told
from gmask_pl.metrics.faithfulness.removal_curves import only_top_fractions


class Sufficiency(FractionMetric):
    """Mean of p(y|x) - p(y|top words alone); DeYoung et al., Eq. 2; lower is better.

    floor: the same with no word kept, which any explainer should be below. above_floor: the share
    of it that the top words win back, (floor - value) / floor, as Carton et al. (2020) divide by
    what an empty rationale loses.
    """

    higher_is_better = False
    meaning = (
        "fall in the predicted class's probability on the top share of words alone: lower is "
        "better (ERASER)"
    )
    parts = MappingProxyType(
        {
            "floor": "the same fall on no words at all",
            "above_floor": "share of that fall which the top words win back",
        }
    )

    def masks(self, order: Tensor, n_words: Tensor) -> Tensor:
        return only_top_fractions(order, n_words, self.fractions)

    def beside(self, empty: Tensor) -> dict[str, Any]:
        """floor, above_floor, each with its interval; meaningful as in `loss_without_words`."""

        def statistic(means: Tensor) -> Tensor:
            floor = lost(means[..., self.width :])
            won = floor - self.summary(means[..., : self.width]).unsqueeze(-1)
            return won / floor.masked_fill(floor <= 0, torch.nan)

        above = told("above_floor", self.estimate(statistic, empty))
        return loss_without_words("floor", self.estimate_of(empty, lost)) | above
