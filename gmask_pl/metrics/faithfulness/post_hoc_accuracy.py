"""Post-hoc accuracy: are the most important words enough for the prediction (Section 5.1.2)?"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from gmask_pl.metrics.bootstrap import numbers
from gmask_pl.metrics.faithfulness.floor import EMPTY, NEEDED, shown, told, verdict
from gmask_pl.metrics.faithfulness.removal_curves import agreement, only_top
from gmask_pl.metrics.pair_metric import PairMetric
from gmask_pl.settings import Count, Seed, checked


class PostHocAccuracy(PairMetric):
    """Agreement of the prediction on the top v words alone with that on the whole pair.

    max_words: V; the value is the mean over v = 1..V. A pair of n <= v words is kept whole and
    agrees by definition, whatever rounding does to the answer. Of equally probable classes the
    first is the predicted one.

    floor: the share of pairs whose prediction needs no words at all, as the empty pair gets it
    already. above_floor: (value - floor) / (1 - floor), so 0 is what no words at all give, below 0
    is worse, and 1 that every prediction is kept. On the same pairs it orders explainers as the
    value does; between models, sets and removals it is the number to compare. The metric is not
    meaningful where the interval of the floor reaches above 1 - NEEDED, 0.9.
    """

    parts = MappingProxyType(
        {
            "floor": "pairs whose prediction needs no words at all",
            "above_floor": "0: as without any word; 1: every prediction is kept",
        }
    )

    @checked
    def __init__(self, *, max_words: Count, resamples: Count, seed: Seed) -> None:
        super().__init__(n_masks=max_words, width=max_words, resamples=resamples, seed=seed)
        self.max_words = max_words

    def masks(self, order: Tensor, n_words: Tensor) -> Tensor:
        return only_top(order, n_words, self.max_words)

    def score(self, probabilities: Tensor, whole: Tensor, n_words: Tensor) -> Tensor:
        kept = torch.arange(1, self.max_words + 1, device=n_words.device)
        return agreement(probabilities, whole).masked_fill(kept >= n_words.unsqueeze(1), 1)

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return averages.mean(-1)

    def compute(self) -> dict[str, Any]:
        """value, low, high, n; by_v, low_by_v, high_by_v: V numbers each, for v = 1..V."""
        found = self.estimate(lambda by_v: torch.cat([by_v.mean(-1, keepdim=True), by_v], dim=-1))
        return {
            **found.headline(),
            "by_v": numbers(found.value[1:]),
            "low_by_v": numbers(found.low[1:]),
            "high_by_v": numbers(found.high[1:]),
        }

    def beside(self, empty: Tensor) -> dict[str, Any]:
        """floor, above_floor, each with its interval; meaningful, why."""

        def statistic(means: Tensor) -> Tensor:
            value, floor = self.summary(means[..., : self.width]).unsqueeze(-1), means[..., -1:]
            return (value - floor) / (1 - floor).masked_fill(floor >= 1, torch.nan)

        part = told("floor", self.estimate_of(empty, lambda means: means[..., -1:]))
        above = told("above_floor", self.estimate(statistic, empty))
        high = part["floor_high"]
        why = f"of {shown(part, 'floor')} of the pairs the prediction needs no words at all"
        decides = verdict(high is not None and high <= 1 - NEEDED, why)
        return {EMPTY: "floor"} | part | above | decides
