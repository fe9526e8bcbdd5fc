"""Do groups explain the answers of a model as units, and better than as many words?"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.metrics.groups._grouped_words import grouped_words, groups_given
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import Part, Presentation
from gmask_pl.question import Answers
from gmask_pl.settings import Count, at_least, checked
from gmask_pl.types import JSON

FLAT = 1e-8  # the variance of answers that do not change: (1e-4)^2


class GroupFit(PairMetric):
    """R^2 on held-out masks of a model additive over groups, less that of one over as many words.

    - samples: masks of each kind. Each keeps every grouped word with probability 1/2, of a pair
      without its other words, and of the pair with them.
    - max_words: the most grouped words a pair may have, which fixes what is asked of the model.
    - resamples, seed: of the 95 % bootstrap interval over pairs; seed is also that of the masks.

    In the model of groups, a group is one number, 1 or 0: whether all its words are kept, or
    whether any is, which of the two correlates more with the answers. The model of words has as
    many numbers: the kept words that correlate most. Both have a weight for each number and kind of
    mask. One half of the masks chooses the numbers and weights, and the other half gives R^2; then
    the halves change places.

    Above 0, the groups say more than the best words. It is 0 where every group is one word and
    these are the best. Pairs without groups, and pairs whose answers hardly change, take no part.
    Raises UserError for a pair with more grouped words, ValueError where no groups are given.

    A row: whether the pair counts, R^2 of the groups, R^2 of the words.

    >>> import torch
    >>> from gmask_pl import ExplanationMetric, GroupFit
    >>> def ask(keep):  # two words decide: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., :2].all(-1), 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 2.0, 1.0]])
    >>> metric = ExplanationMetric(GroupFit())
    >>> metric.update(ask, scores, valid, ask(valid), torch.tensor([[0, 0, -1]]))
    >>> found = metric.compute()
    >>> round(found["groups"], 3), found["words"] < 0.8
    (1.0, True)
    """

    presentation = Presentation(
        meaning="R² on held-out masks of the groups as units, less that of as many single words",
        unit="share of variance",
        range=(None, 1),
        parts=(
            Part("groups", meaning="R² of the model additive over groups"),
            Part("words", meaning="R² of the model additive over as many words"),
        ),
    )

    @checked
    def __init__(
        self,
        *,
        samples: Annotated[int, at_least(8, "masks, to fit and to test")] = 64,
        max_words: Count = 16,
        **bootstrap: Any,
    ) -> None:
        super().__init__(**bootstrap)
        self.samples, self.max_words = samples, max_words

    def masks(self, pairs: RankedPairs) -> Tensor:
        """The drawn words alone, then the pair without the grouped words that are not drawn."""
        groups = groups_given(pairs, "GroupFit")
        words = grouped_words(groups, self.max_words, "GroupFit")
        width = groups.shape[1]
        columns = torch.where(words < 0, width, words)[:, None].expand(-1, self.samples, -1)
        drawn = torch.zeros(len(groups), self.samples, width + 1, dtype=torch.bool)
        drawn = drawn.to(groups.device)
        bits = self._bits().to(groups.device).expand(len(groups), -1, -1)
        alone = drawn.scatter(2, columns, bits)[..., :width]
        others = (pairs.valid & (groups < 0))[:, None]
        return torch.cat([alone, alone | others], 1) & pairs.valid[:, None]

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        groups = groups_given(pairs, "GroupFit").cpu()
        words = grouped_words(groups, self.max_words, "GroupFit")
        bits = self._bits()
        values = answers.value.double().cpu().unflatten(1, (2, self.samples))
        rows = []
        for own, places, value in zip(groups, words, values, strict=True):
            used = places >= 0
            group = own[places[used]]
            kept = bits[:, used]
            rows.append(_fits(kept, group, value) if len(group) else (0.0, 0.0, 0.0))
        return torch.tensor(rows, dtype=answers.value.dtype, device=answers.value.device)

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return (averages[..., 1] - averages[..., 2]) / averages[..., 0]

    def result(self, rows: Tensor) -> JSON:
        """value, low, high; n: pairs that count; groups, words: R² of the two models."""
        found = self.estimate(rows, lambda means: self.summary(means)[..., None])
        counts, *sums = found.averages.tolist()
        groups, words = (s / counts if counts else None for s in sums)
        headline = found.headline() | {"n": round(counts * found.n)}
        return headline | {"groups": groups, "words": words}

    def _bits(self) -> Tensor:
        """Which grouped words each mask keeps, (samples, max_words) bool: the same for any pair."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.rand(self.samples, self.max_words, generator=generator) < 0.5


def _fits(kept: Tensor, group: Tensor, values: Tensor) -> tuple[float, float, float]:
    """The row of one pair: kept (S, words) bool, group (words,), values (2, S)."""
    if float(values.var(1, correction=0).sum()) <= FLAT:
        return 0.0, 0.0, 0.0
    member = group == group.unique()[:, None]  # (groups, words)
    every = torch.stack([kept[:, own].all(1) for own in member], 1).double()
    some = torch.stack([kept[:, own].any(1) for own in member], 1).double()
    half = torch.arange(len(kept)) % 2 == 0
    left, left_words, spread = 0.0, 0.0, 0.0
    for fit in (half, ~half):
        answers = values[:, fit]
        strong = _strength(every[fit], answers) >= _strength(some[fit], answers)
        units = torch.where(strong, every, some)
        best = _strength(kept[fit].double(), answers).argsort(descending=True, stable=True)
        single = kept[:, best[: len(member)]].double()
        for value in values:
            left += _error(units, value, fit)
            left_words += _error(single, value, fit)
            spread += float((value[~fit] - value[~fit].mean()).square().sum())
    return 1.0, 1 - left / spread, 1 - left_words / spread


def _strength(numbers: Tensor, values: Tensor) -> Tensor:
    """Of each of m numbers (S, m), what it explains alone of values (2, S): (m,)."""
    centred = numbers - numbers.mean(0)
    shared = (values - values.mean(1, keepdim=True)) @ centred
    return (shared.square() / centred.square().sum(0).clamp_min(1e-9)).sum(0)


def _error(numbers: Tensor, values: Tensor, fit: Tensor) -> float:
    """The squared error on the other masks of least squares on the masks ``fit``."""
    design = torch.cat([torch.ones(len(numbers), 1, dtype=numbers.dtype), numbers], 1)
    weights = torch.linalg.lstsq(design[fit], values[fit, None], driver="gelsd").solution
    return float((values[~fit] - (design[~fit] @ weights)[:, 0]).square().sum())
