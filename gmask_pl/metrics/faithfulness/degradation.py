"""Degradation test: is the whole ranking of the words right (Section 5.1.3)?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from torch import Tensor

from gmask_pl.metrics.floor import EMPTY, shown, told, verdict
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import PERCENT_REMOVED, Curve, Part, Plot, Presentation
from gmask_pl.metrics.removal_curves import (
    degradation_gains,
    degradation_score,
    degraded,
    normalised_curves,
)
from gmask_pl.question import Answers
from gmask_pl.settings import Share, at_least, checked
from gmask_pl.types import JSON


class Degradation(PairMetric):
    """Area between the LeRF and MoRF curves, Eqs. 10-11; higher means a better ranking.

    Probabilities are averaged over examples first and normalised after; every bootstrap resample
    does the same.

    - steps: equal parts of 0..100 % (Section 5.1.3, Figure 4: points every 10 %); at rho, floor(rho
      * n + 1/2) of a pair's n words are removed, so a one-word pair is whole below 50 % and empty
      from there on.
    - min_denominator: the score divides by mean p(y|x) - mean p(y|x_o), and says little if the
      model is nearly as sure about the empty pair as about the whole one. The result has
      ``meaningful`` false unless the whole 95 % interval of the denominator lies above 0 and not
      below this threshold (ours): with few pairs, a denominator may be large enough by chance. When
      it is exactly 0, the value, its interval and the points of both curves are None.
    - resamples, seed: of the 95 % bootstrap interval over pairs.

    >>> import torch
    >>> from gmask_pl import Degradation, ExplanationMetric
    >>> def ask(keep):  # the first word decides: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., 0], 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 1.0, 2.0]])
    >>> metric = ExplanationMetric(Degradation(steps=2))
    >>> metric.update(ask, scores, valid, ask(valid))
    >>> found = metric.compute()
    >>> round(found["value"], 3), [round(y, 3) for y in found["morf"]]
    (0.5, [1.0, 0.0, 0.0])
    """

    presentation = Presentation(
        title="Degradation",
        heading="degradation",
        meaning="area between the curves of least and most relevant words removed first (Eq. 11)",
        unit="area",
        parts=(Part("denominator", "what is lost without any word, which divides"),),
        plot=Plot(
            title="MoRF and LeRF curves by the percentage of words removed",
            x=PERCENT_REMOVED,
            y="normalised probability S",
            equation="Eq. 10",
            curves=(
                Curve("morf", "most relevant first (MoRF)", name="morf"),
                Curve("lerf", "least relevant first (LeRF)", name="lerf"),
            ),
            area=True,
        ),
        place=3,
    )

    @checked
    def __init__(
        self,
        *,
        steps: Annotated[int, at_least(2)] = 10,
        min_denominator: Share = 0.05,
        **bootstrap: Any,
    ) -> None:
        super().__init__(**bootstrap)
        self.steps = steps
        self.min_denominator = min_denominator

    def masks(self, pairs: RankedPairs) -> Tensor:
        return degraded(pairs.order, pairs.n_words, self.steps)

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        value = answers.value
        return degradation_gains(pairs.whole, value[:, :-1], value[:, -1])

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return degradation_score(*normalised_curves(averages))

    @staticmethod
    def curves(averages: Tensor) -> Sequence[Tensor]:
        return normalised_curves(averages)

    def result(self, rows: Tensor) -> JSON:
        """value, low, high, n; denominator with its interval; meaningful, why; percent, morf,
        lerf: steps + 1 numbers."""
        denominator = told("denominator", self.estimate(rows, lambda gains: gains[..., :1]))
        least = denominator["denominator_low"]
        enough = least is not None and least > 0 and least >= self.min_denominator
        why = (
            "without any word the prediction is hardly less sure, or may not be: the score divides "
            f"by that difference, {shown(denominator, 'denominator')}, and it must be "
            f"{self.min_denominator:g} or more throughout"
        )
        told_of_empty = {EMPTY: "denominator"} | denominator | verdict(enough, why)
        percent = PERCENT_REMOVED.at(self.steps + 1)
        return super().result(rows) | told_of_empty | {"percent": percent}
