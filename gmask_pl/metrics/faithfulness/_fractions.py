"""What ERASER's comprehensiveness and sufficiency share (DeYoung et al., ACL 2020, Section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.metrics.bootstrap import numbers
from gmask_pl.metrics.faithfulness.removal_curves import predicted_probability
from gmask_pl.metrics.pair_metric import PairMetric
from gmask_pl.settings import Count, Range, Seed, checked, typed
from gmask_pl.types import UserError


class FractionMetric(PairMetric):
    """Mean over fractions of the words of p(y|x) - p(y|what is left), y the predicted class.

    A fraction f of a pair of n words is ceil(f * n) words. The mean is over the fractions given,
    as in ERASER's scorer; the paper's sum starts at k = 0, an empty rationale, whose term is 0
    for comprehensiveness, and divides by one more.

    fractions: of the words, in (0, 1], rising.
    """

    @checked
    def __init__(
        self,
        *,
        fractions: Sequence[Annotated[float, Range(1e-6, 1)]],
        resamples: Count,
        seed: Seed,
    ) -> None:
        exact = _exact(type(self).__name__, fractions)
        super().__init__(n_masks=len(exact), width=len(exact), resamples=resamples, seed=seed)
        self.fractions = exact

    def score(self, probabilities: Tensor, whole: Tensor, n_words: Tensor) -> Tensor:
        p_whole = predicted_probability(whole.unsqueeze(1), whole)
        return p_whole - predicted_probability(probabilities, whole)

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return averages.mean(-1)

    def compute(self) -> dict[str, Any]:
        """value, low, high, n; by_fraction: value, low, high for each fraction by its name."""
        found = self.estimate(lambda by_f: torch.cat([by_f.mean(-1, keepdim=True), by_f], dim=-1))
        columns = (numbers(part[1:]) for part in (found.value, found.low, found.high))
        rows = zip(self.fractions, *columns, strict=True)
        by_fraction = {f"{float(f):g}": dict(zip(_KEYS, row, strict=True)) for f, *row in rows}
        return {**found.headline(), "by_fraction": by_fraction}


_KEYS = ("value", "low", "high")


def _exact(owner: str, fractions: Sequence[float]) -> tuple[Fraction, ...]:
    """As decimals, the numbers that were written and not their binary neighbours: 0.07 of 100 words
    is 7, not 8. Raises UserError where they do not rise."""
    given = list(fractions)
    if not given or sorted(set(given)) != given:
        raise UserError(
            f"{owner}.fractions={typed(given)}: give rising fractions of the words, such as "
            "[0.01, 0.05, 0.1, 0.2, 0.5]"
        )
    return tuple(Fraction(f).limit_denominator(10**6) for f in given)
