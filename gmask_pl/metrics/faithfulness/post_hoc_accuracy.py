"""Post-hoc accuracy: are the most important words enough for the prediction (Section 5.1.2)?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gmask_pl.metrics.floor import EMPTY, NEEDED, shown, told, verdict
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import WORDS_KEPT, Curve, Part, Plot, Presentation
from gmask_pl.metrics.removal_curves import only_top
from gmask_pl.question import Answers
from gmask_pl.settings import Count, checked
from gmask_pl.types import JSON


class PostHocAccuracy(PairMetric):
    """Agreement of the prediction on the top v words alone with that on the whole pair.

    - max_words: V (Section 5.1.2, Figure 3); the value is the mean over v = 1..V. A pair of n <= v
      words is kept whole and agrees by definition, whatever rounding does to the answer. If classes
      are equally probable, the first counts as predicted.
    - resamples, seed: of the 95 % bootstrap interval over pairs.

    floor: the share of pairs whose prediction needs no words, since the empty pair already gets it.
    above_floor: (value - floor) / (1 - floor), so 0 is what no words at all give, below 0 is worse,
    and at 1 every prediction is kept. On the same pairs it ranks explainers as the value does. Use
    it to compare models, sets and removals. The metric is not meaningful if the interval of the
    floor reaches above 1 - NEEDED, 0.9.

    >>> import torch
    >>> from gmask_pl import ExplanationMetric, PostHocAccuracy
    >>> def ask(keep):  # the first word decides: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., 0], 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[2.0, 3.0, 1.0]])
    >>> metric = ExplanationMetric(PostHocAccuracy(max_words=2))
    >>> metric.update(ask, scores, valid, ask(valid))
    >>> found = metric.compute()
    >>> found["value"], found["by_v"], found["floor"]
    (0.5, [0.0, 1.0], 0.0)
    """

    presentation = Presentation(
        title="Post-hoc accuracy",
        heading="post-hoc",
        meaning=("predictions the top v words alone keep, mean over v from 1 to {points} (§5.1.2)"),
        unit="share of pairs",
        range=(0, 1),
        interval=False,
        parts=(
            Part("floor", "pairs whose prediction needs no words at all"),
            Part(
                "above_floor",
                "0: as without any word; 1: every prediction is kept",
                heading="above",
            ),
        ),
        plot=Plot(
            title="Post-hoc accuracy by the number of words kept",
            x=WORDS_KEPT,
            y="post-hoc accuracy",
            curves=(Curve("by_v", "agrees with the whole pair", low="low_by_v", high="high_by_v"),),
            range=(0, 1),
            letter="v",
            shown=(1, 2, 4, 10),
        ),
        place=2,
    )

    @checked
    def __init__(self, *, max_words: Count = 10, **bootstrap: Any) -> None:
        super().__init__(**bootstrap)
        self.max_words = max_words

    def masks(self, pairs: RankedPairs) -> Tensor:
        return only_top(pairs.order, pairs.n_words, self.max_words)

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        kept = torch.arange(1, self.max_words + 1, device=answers.same.device)
        whole = kept >= pairs.n_words.unsqueeze(1)
        return (answers.same | whole).to(answers.value)

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return averages.mean(-1)

    @staticmethod
    def curves(averages: Tensor) -> Sequence[Tensor]:
        return (averages,)

    def beside(self, rows: Tensor, empty: Tensor) -> JSON:
        """floor, above_floor, each with its interval; meaningful, why."""

        def statistic(means: Tensor) -> Tensor:
            value, floor = self.summary(means[..., : rows.shape[1]])[..., None], means[..., -1:]
            return (value - floor) / (1 - floor).masked_fill(floor >= 1, torch.nan)

        part = told("floor", self.estimate(empty, lambda means: means[..., -1:]))
        above = told("above_floor", self.estimate(torch.cat([rows, empty], 1), statistic))
        high = part["floor_high"]
        why = f"of {shown(part, 'floor')} of the pairs the prediction needs no words at all"
        decides = verdict(high is not None and high <= 1 - NEEDED, why)
        return {EMPTY: "floor"} | part | above | decides
