"""Do groups explain the answers of a model, and better than as many effects of single words?"""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.metrics.groups._grouped_words import groups_given
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import Part, Presentation
from gmask_pl.question import Answers
from gmask_pl.settings import at_least, checked
from gmask_pl.types import JSON

FLAT = 1e-8  # the variance of answers that do not change: (1e-4)^2


class GroupFit(PairMetric):
    """R^2 on held-out masks of a model additive over groups, less that of one over single words.

    - samples: masks. Each keeps every word of the pair with probability 1/2.
    - resamples, seed: of the 95 % bootstrap interval over pairs; seed is also that of the masks.

    The model of groups has an effect for each word of a group, and a joint effect for each two
    words of one group. The model of words has as many effects, of single words only: of the words
    that correlate most with the answers. Both are fitted by least squares to one half of the masks,
    which also chooses the words, and the other half gives R^2; then the halves change places.

    Above 0, the groups say more than as many words. All methods are compared on the same masks.
    Pairs without groups, and pairs whose answers hardly change, take no part. Raises ValueError
    where no groups are given.

    A row: whether the pair counts, R^2 of the groups, R^2 of the words, the number of effects.

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
        meaning="R² on held-out masks of the groups, less that of as many effects of single words",
        unit="share of variance",
        range=(None, 1),
        parts=(
            Part("groups", meaning="R² of the model additive over groups"),
            Part("words", meaning="R² of as many effects of single words"),
        ),
    )

    @checked
    def __init__(
        self,
        *,
        samples: Annotated[int, at_least(8, "masks, to fit and to test")] = 256,
        **bootstrap: Any,
    ) -> None:
        super().__init__(**bootstrap)
        self.samples = samples

    def masks(self, pairs: RankedPairs) -> Tensor:
        """The drawn masks, the same for every pair of so many words."""
        groups_given(pairs, "GroupFit")
        return self._bits(pairs.valid.shape[1]).to(pairs.valid.device) & pairs.valid[:, None]

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        groups = groups_given(pairs, "GroupFit").cpu()
        bits, values = self._bits(groups.shape[1]), answers.value.double().cpu()
        valid = pairs.valid.cpu()
        rows = [
            _fits(bits[:, words].double(), own[words], value)
            for own, words, value in zip(groups, valid, values, strict=True)
        ]
        return torch.tensor(rows, dtype=answers.value.dtype, device=answers.value.device)

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return (averages[..., 1] - averages[..., 2]) / averages[..., 0]

    def result(self, rows: Tensor) -> JSON:
        """value, low, high; n: pairs that count; groups, words: R² of the two models; effects: how
        many each has, on average."""
        found = self.estimate(rows, lambda means: self.summary(means)[..., None])
        counts, *sums = found.averages.tolist()
        groups, words, effects = (s / counts if counts else None for s in sums)
        headline = found.headline() | {"n": round(counts * found.n)}
        return headline | {"groups": groups, "words": words, "effects": effects}

    def _bits(self, width: int) -> Tensor:
        """Which words each mask keeps, (samples, width) bool; more words leave the first as is."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [torch.rand(self.samples, generator=generator) for _ in range(width)]
        return torch.stack(drawn, 1) < 0.5


def _fits(kept: Tensor, group: Tensor, values: Tensor) -> tuple[float, float, float, float]:
    """The row of one pair: kept (S, words), group (words,), values (S,)."""
    members = [torch.nonzero(group == one)[:, 0].tolist() for one in group.unique() if one >= 0]
    if not members or float(values.var(correction=0)) <= FLAT:
        return 0.0, 0.0, 0.0, 0.0
    joint = [kept[:, [i, j]].prod(1) for own in members for i, j in combinations(own, 2)]
    effects = torch.stack([*kept[:, group >= 0].unbind(1), *joint], 1)
    half = torch.arange(len(kept)) % 2 == 0
    left, left_words, spread = 0.0, 0.0, 0.0
    for fit in (half, ~half):
        best = _strength(kept[fit], values[fit]).argsort(descending=True, stable=True)
        left += _error(effects, values, fit)
        left_words += _error(kept[:, best[: effects.shape[1]]], values, fit)
        spread += float((values[~fit] - values[~fit].mean()).square().sum())
    return 1.0, 1 - left / spread, 1 - left_words / spread, float(effects.shape[1])


def _strength(numbers: Tensor, values: Tensor) -> Tensor:
    """Of each of m numbers (S, m), what it explains alone of values (S,): (m,)."""
    centred = numbers - numbers.mean(0)
    shared = (values - values.mean()) @ centred
    return shared.square() / centred.square().sum(0).clamp_min(1e-9)


def _error(numbers: Tensor, values: Tensor, fit: Tensor) -> float:
    """The squared error on the other masks of least squares on the masks ``fit``."""
    design = torch.cat([torch.ones(len(numbers), 1, dtype=numbers.dtype), numbers], 1)
    weights = torch.linalg.lstsq(design[fit], values[fit, None], driver="gelsd").solution
    return float((values[~fit] - (design[~fit] @ weights)[:, 0]).square().sum())
