"""Degradation test: is the whole ranking of the words right (Section 5.1.3)?"""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.metrics.bootstrap import numbers
from gmask_pl.metrics.faithfulness.floor import EMPTY, shown, told, verdict
from gmask_pl.metrics.faithfulness.removal_curves import (
    degradation_gains,
    degradation_score,
    degraded,
    normalised_curves,
    predicted_probability,
)
from gmask_pl.metrics.pair_metric import PairMetric
from gmask_pl.settings import Count, Seed, Share, at_least, checked


class Degradation(PairMetric):
    """Area between the LeRF and MoRF curves, Eqs. 10-11; higher means a better ranking.

    Probabilities are averaged over examples first and normalised after; every bootstrap resample
    does the same. steps: equal parts of 0..100 %; at rho, floor(rho * n + 1/2) of a pair's n
    words are removed, so a one-word pair is whole below 50 % and empty from there on.

    min_denominator: the score divides by mean p(y|x) - mean p(y|x_o), and says little when the
    empty pair is answered nearly as surely as the whole one. It is reported with ``meaningful``
    false unless the whole 95 % interval of the denominator lies above 0 and not below this
    threshold: of few pairs a denominator may be large enough by chance. When it is exactly 0, the
    value, its interval and the points of both curves are None.
    """

    parts = MappingProxyType({"denominator": "what is lost without any word, which divides"})

    @checked
    def __init__(
        self,
        *,
        steps: Annotated[int, at_least(2)],
        min_denominator: Share,
        resamples: Count,
        seed: Seed,
    ) -> None:
        inner = 2 * (steps - 1)
        super().__init__(n_masks=inner + 1, width=inner + 1, resamples=resamples, seed=seed)
        self.steps = steps
        self.min_denominator = min_denominator

    def masks(self, order: Tensor, n_words: Tensor) -> Tensor:
        return degraded(order, n_words, self.steps)

    def score(self, probabilities: Tensor, whole: Tensor, n_words: Tensor) -> Tensor:
        unmasked = predicted_probability(whole.unsqueeze(1), whole).squeeze(1)
        answers = predicted_probability(probabilities, whole)
        return degradation_gains(unmasked, answers[:, :-1], answers[:, -1])

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return degradation_score(*normalised_curves(averages))

    def compute(self) -> dict[str, Any]:
        """value, low, high, n; denominator with its interval; meaningful, why; percent, morf,
        lerf: steps + 1 numbers."""
        found = self.estimate(lambda gains: torch.stack([self.summary(gains), gains[..., 0]], -1))
        denominator = told("denominator", found, component=1)
        least = denominator["denominator_low"]
        enough = least is not None and least > 0 and least >= self.min_denominator
        why = (
            "without any word the prediction is hardly less sure, or may not be: the score divides "
            f"by that difference, {shown(denominator, 'denominator')}, and it must be "
            f"{self.min_denominator:g} or more throughout"
        )
        morf, lerf = normalised_curves(found.averages)
        return {
            **found.headline(),
            EMPTY: "denominator",
            **denominator,
            **verdict(enough, why),
            "percent": [100 * i / self.steps for i in range(self.steps + 1)],
            "morf": numbers(morf),
            "lerf": numbers(lerf),
        }
