"""Do groups explain the answers of a model, and better than as many effects of single words?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.metrics.groups._grouped_words import candidate_words, grouped_words, groups_given
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import Part, Presentation
from gmask_pl.question import Answers
from gmask_pl.settings import Range, at_least, checked
from gmask_pl.types import JSON

FLAT = 1e-8  # the variance of answers that do not change: (1e-4)^2
DRAWS, FOLDS = 10, 4  # of random groups; of masks


class GroupFit(PairMetric):
    """R^2 on held-out masks of a model additive over groups, less that of one over single words.

    - samples: masks of each of two kinds. Each keeps some of the words that the explainer could
      have grouped: of a pair without its other words, and of the pair with them. No mask is drawn
      twice.
    - max_words: the most words that an explainer could have grouped.
    - resamples, seed: of the 95 % bootstrap interval over pairs; seed is also that of the masks.

    The model of groups has an effect for each word of a group, and a joint effect for each two
    words of one group. The model of words has as many effects, of single words only: of the words
    that correlate most with the answers. Both are fitted by least squares to three quarters of the
    masks of a kind, which also choose the words, and the last quarter gives R^2; each quarter is
    the last once. R^2 is of both kinds together. Of few words all masks are asked about; then
    nothing is left to hold out, and R^2 is of all of them.

    Above 0, the groups say more than as many words. Beside it stand other groups of the same sizes,
    of the words that could have been grouped: ``random`` ones, the mean over ten draws, and
    ``neighbours``, words that follow one another. Pairs without groups, and pairs whose answers
    hardly change, take no part. Raises UserError for a pair with more words, ValueError where no
    groups are given.

    A row: whether the pair counts, R^2 of the groups, of the words, of random groups and of
    neighbours, and the number of effects.

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
            Part("random", meaning="R² of random groups of the same sizes"),
            Part("neighbours", meaning="R² of groups of words that follow one another"),
        ),
    )

    @checked
    def __init__(
        self,
        *,
        samples: Annotated[int, at_least(8, "masks, to fit and to test")] = 128,
        max_words: Annotated[int, Range(2, 20, why="words: 2^max_words masks")] = 16,
        **bootstrap: Any,
    ) -> None:
        super().__init__(**bootstrap)
        self.samples, self.max_words = samples, max_words

    def masks(self, pairs: RankedPairs) -> Tensor:
        """The drawn words alone, then the pair without the words that are not drawn."""
        alone = torch.zeros(
            len(pairs.valid), self.samples, pairs.valid.shape[1], dtype=torch.bool
        ).to(pairs.valid.device)
        known = candidate_words(pairs, "GroupFit")
        for row, words in enumerate(self._words(pairs)):
            kept = self._bits(len(words))
            alone[row, : len(kept), words] = kept.to(alone.device)
        others = (pairs.valid & ~known)[:, None]
        return torch.cat([alone, alone | others], 1) & pairs.valid[:, None]

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        groups = groups_given(pairs, "GroupFit").cpu()
        values = answers.value.double().cpu().unflatten(1, (2, self.samples))
        rows = []
        for own, words, value in zip(groups, self._words(pairs), values, strict=True):
            kept = self._bits(len(words))
            rows.append(_fits(kept.double(), own[words], value[:, : len(kept)], self.seed))
        return torch.tensor(rows, dtype=answers.value.dtype, device=answers.value.device)

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return (averages[..., 1] - averages[..., 2]) / averages[..., 0]

    def result(self, rows: Tensor) -> JSON:
        """value, low, high; n: pairs that count; R² of groups, words, random, neighbours; effects:
        how many each model has, on average."""
        found = self.estimate(rows, lambda means: self.summary(means)[..., None])
        counts, *sums = found.averages.tolist()
        names = ("groups", "words", "random", "neighbours", "effects")
        means = (one / counts if counts else None for one in sums)
        headline = found.headline() | {"n": round(counts * found.n)}
        return headline | dict(zip(names, means, strict=True))

    def _words(self, pairs: RankedPairs) -> list[Tensor]:
        """The places of the words of each pair that could have been grouped, in their order."""
        known = torch.where(candidate_words(pairs, "GroupFit"), 0, -1)
        words = grouped_words(known, self.max_words, "GroupFit").cpu()
        return [places[places >= 0] for places in words]

    def _bits(self, n: int) -> Tensor:
        """Which of n words each mask keeps, (at most samples, n) bool: the same for any pair."""
        generator = torch.Generator().manual_seed(self.seed)
        numbers = torch.randperm(2**n, generator=generator)[: self.samples]
        return (numbers[:, None] >> torch.arange(n)) & 1 > 0


def _fits(kept: Tensor, group: Tensor, values: Tensor, seed: int) -> tuple[float, ...]:
    """The row of one pair: kept (S, words), group (words,), values (2, S)."""
    members = [torch.nonzero(group == one)[:, 0].tolist() for one in group.unique() if one >= 0]
    if not members or float(values.var(1, correction=0).sum()) <= FLAT:
        return (0.0,) * 6
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(group), generator=generator).tolist() for _ in range(DRAWS)]
    effects, folds = _effects(kept, members), _folds(*kept.shape)
    count = effects.shape[1]
    ranked = [
        _strength(kept[fit], values[:, fit]).argsort(descending=True, stable=True)
        for fit, _ in folds
    ]

    def r2(*numbers: Tensor) -> float:
        """On held-out masks, of the numbers (S, m) of every fold, or of each."""
        left = spread = 0.0
        for own, (fit, held) in zip(numbers * (len(folds) // len(numbers)), folds, strict=True):
            for value in values:
                left += _error(own, value, fit, held)
                spread += float((value[held] - value[held].mean()).square().sum())
        return 1 - left / spread if spread else 0.0

    words = r2(*(kept[:, best[:count]] for best in ranked))
    drawn = [r2(_effects(kept, _cut(order, members))) for order in orders]
    runs = r2(_effects(kept, _cut(range(len(group)), members)))
    return 1.0, r2(effects), words, sum(drawn) / DRAWS, runs, float(count)


def _cut(words: Sequence[int], like: list[list[int]]) -> list[list[int]]:
    """Groups of the sizes of ``like``, of words in this order."""
    rest = iter(words)
    return [[next(rest) for _ in own] for own in like]


def _effects(kept: Tensor, members: list[list[int]]) -> Tensor:
    """Of each mask (S, effects): the words of groups, and each two words of one group."""
    single = [kept[:, i] for own in members for i in own]
    joint = [kept[:, i] * kept[:, j] for own in members for i, j in combinations(own, 2)]
    return torch.stack([*single, *joint], 1)


def _folds(samples: int, words: int) -> list[tuple[Tensor, Tensor]]:
    """Which masks are fitted in each fold and which held out, (samples,) bool each."""
    if samples == 2**words:
        every = torch.ones(samples, dtype=torch.bool)
        return [(every, every)]
    quarter = torch.arange(samples) % FOLDS
    return [(quarter != fold, quarter == fold) for fold in range(FOLDS)]


def _strength(numbers: Tensor, values: Tensor) -> Tensor:
    """Of each of m numbers (S, m), what it explains alone of values (2, S): (m,)."""
    centred = numbers - numbers.mean(0)
    shared = (values - values.mean(1, keepdim=True)) @ centred
    return (shared.square() / centred.square().sum(0).clamp_min(1e-9)).sum(0)


def _error(numbers: Tensor, values: Tensor, fit: Tensor, held: Tensor) -> float:
    """The squared error on the masks ``held`` of least squares on the masks ``fit``."""
    design = torch.cat([torch.ones(len(numbers), 1, dtype=numbers.dtype), numbers], 1)
    weights = torch.linalg.lstsq(design[fit], values[fit, None], driver="gelsd").solution
    return float((values[held] - (design[held] @ weights)[:, 0]).square().sum())
