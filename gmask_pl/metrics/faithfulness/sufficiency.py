"""Sufficiency: what the prediction loses on its most important words alone (ERASER)."""

from __future__ import annotations

import torch
from torch import Tensor

from gmask_pl.metrics.faithfulness.comprehensiveness import FractionMetric
from gmask_pl.metrics.floor import loss_without_words, lost, told
from gmask_pl.metrics.pair_metric import RankedPairs
from gmask_pl.metrics.presentation import Part, Presentation
from gmask_pl.metrics.removal_curves import only_top_fractions
from gmask_pl.types import JSON


class Sufficiency(FractionMetric):
    """Mean of p(y|x) - p(y|top words alone); DeYoung et al., Eq. 2; lower is better.

    - fractions: of the words, in (0, 1], rising, see `FractionMetric`.
    - resamples, seed: of the 95 % bootstrap interval over pairs.

    floor: the loss with no word kept; any explainer should be below it. above_floor: the share of
    it that the top words win back, (floor - value) / floor, since Carton et al. (2020) divide by
    the loss of an empty rationale. Raises UserError if the fractions do not rise.

    >>> import torch
    >>> from gmask_pl import ExplanationMetric, Sufficiency
    >>> def ask(keep):  # the first word decides: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., 0], 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 1.0, 2.0]])
    >>> metric = ExplanationMetric(Sufficiency(fractions=[0.5]))
    >>> metric.update(ask, scores, valid, ask(valid))
    >>> found = metric.compute()
    >>> round(found["value"], 3), round(found["floor"], 3), round(found["above_floor"], 3)
    (0.0, 0.8, 1.0)
    """

    presentation = Presentation(
        meaning=(
            "fall in what is explained on the top share of words alone: lower is better (ERASER)"
        ),
        unit="probability",
        higher_is_better=False,
        range=(-1, 1),
        parts=(
            Part("floor", "the same fall on no words at all"),
            Part("above_floor", "share of that fall which the top words win back"),
        ),
    )

    def masks(self, pairs: RankedPairs) -> Tensor:
        return only_top_fractions(pairs.order, pairs.n_words, self.fractions)

    def beside(self, rows: Tensor, empty: Tensor) -> JSON:
        """floor, above_floor, each with its interval; meaningful as in `loss_without_words`."""

        def statistic(means: Tensor) -> Tensor:
            floor = lost(means[..., rows.shape[1] :])
            won = floor - self.summary(means[..., : rows.shape[1]])[..., None]
            return won / floor.masked_fill(floor <= 0, torch.nan)

        above = told("above_floor", self.estimate(torch.cat([rows, empty], 1), statistic))
        return loss_without_words("floor", self.estimate(empty, lost)) | above
