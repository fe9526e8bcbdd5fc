"""Comprehensiveness: what the prediction loses without its most important words (ERASER).

`FractionMetric` is what it shares with sufficiency (DeYoung et al., ACL 2020, Section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Any

from torch import Tensor

from gmask_pl.metrics.bootstrap import numbers
from gmask_pl.metrics.floor import loss_without_words, lost
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import Part, Presentation
from gmask_pl.metrics.removal_curves import without_top_fractions
from gmask_pl.question import Answers
from gmask_pl.settings import Range, checked, typed
from gmask_pl.types import JSON, UserError

_KEYS = ("value", "low", "high")


class FractionMetric(PairMetric):
    """Mean over fractions of the words of p(y|x) - p(y|what is left), y the predicted class.

    A fraction f of a pair of n words is ceil(f * n) words. The mean is over the fractions given,
    as in ERASER's scorer; the paper's sum starts at k = 0, an empty rationale, whose term is 0
    for comprehensiveness, and divides by one more.

    fractions: of the words, in (0, 1], rising (those of DeYoung et al., Section 4.2).
    """

    @checked
    def __init__(
        self,
        *,
        fractions: Sequence[Annotated[float, Range(1e-6, 1)]] = (0.01, 0.05, 0.1, 0.2, 0.5),
        **bootstrap: Any,
    ) -> None:
        super().__init__(**bootstrap)
        self.fractions = _exact(type(self).__name__, fractions)

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        return pairs.whole[:, None] - answers.value

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return averages.mean(-1)

    def result(self, rows: Tensor) -> JSON:
        """value, low, high, n; by_fraction: value, low, high for each fraction by its name."""
        found = self.estimate(rows)
        columns = (numbers(part) for part in (found.value, found.low, found.high))
        each = zip(self.fractions, *columns, strict=True)
        by_fraction = {f"{float(f):g}": dict(zip(_KEYS, row, strict=True)) for f, *row in each}
        return super().result(rows) | {"by_fraction": by_fraction}


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


class Comprehensiveness(FractionMetric):
    """Mean of p(y|x) - p(y|x without its top words); DeYoung et al., Eq. 1; higher is better.

    - fractions: of the words, in (0, 1], rising, see `FractionMetric`.
    - resamples, seed: of the 95 % bootstrap interval over pairs.

    Raises UserError where the fractions do not rise.

    >>> import torch
    >>> from gmask_pl import Comprehensiveness, ExplanationMetric
    >>> def ask(keep):  # the first word decides: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., 0], 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 1.0, 2.0]])
    >>> metric = ExplanationMetric(Comprehensiveness(fractions=[0.5]))
    >>> metric.update(ask, scores, valid, ask(valid))
    >>> found = metric.compute()
    >>> round(found["value"], 3)
    0.8
    """

    presentation = Presentation(
        meaning=("fall in what is explained without the top share of words (ERASER)"),
        unit="probability",
        range=(-1, 1),
        parts=(Part("all_at_once", "the same fall without any word"),),
    )

    def masks(self, pairs: RankedPairs) -> Tensor:
        return without_top_fractions(pairs.order, pairs.n_words, self.fractions)

    def beside(self, rows: Tensor, empty: Tensor) -> JSON:
        """all_at_once: the fall without any word; meaningful as in `loss_without_words`."""
        return loss_without_words("all_at_once", self.estimate(empty, lost))
