"""Do groups explain the answers of a model, and better than as many effects of single words?"""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.metrics.groups._grouped_words import candidate_words, groups_given
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import Part, Presentation
from gmask_pl.question import Answers
from gmask_pl.settings import at_least, checked
from gmask_pl.types import JSON

FLAT = 1e-8  # the variance of answers that do not change: (1e-4)^2
DRAWS = 10  # of random groups


class GroupFit(PairMetric):
    """R^2 on held-out masks of a model additive over groups, less that of one over single words.

    - samples: masks. Each keeps every word of the pair with probability 1/2.
    - resamples, seed: of the 95 % bootstrap interval over pairs; seed is also that of the masks.

    The model of groups has an effect for each word of a group, and a joint effect for each two
    words of one group. The model of words has as many effects, of single words only: of the words
    that correlate most with the answers. Both are fitted by least squares to one half of the masks,
    which also chooses the words, and the other half gives R^2; then the halves change places.

    Above 0, the groups say more than as many words. All methods are compared on the same masks.
    Beside it stand other groups of the same sizes, of the words that could have been grouped:
    ``random`` ones, the mean over ten draws, and ``neighbours``, words that follow one another.
    Pairs without groups, and pairs whose answers hardly change, take no part. Raises ValueError
    where no groups are given.

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
        groups, known = groups_given(pairs, "GroupFit"), candidate_words(pairs, "GroupFit")
        bits, values = self._bits(groups.shape[1]).double(), answers.value.double().cpu()
        rows = [
            _fits(bits[:, words], own[words], could[words], value, self.seed)
            for own, words, could, value in zip(
                groups.cpu(), pairs.valid.cpu(), known.cpu(), values, strict=True
            )
        ]
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

    def _bits(self, width: int) -> Tensor:
        """Which words each mask keeps, (samples, width) bool; more words leave the first as is."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [torch.rand(self.samples, generator=generator) for _ in range(width)]
        return torch.stack(drawn, 1) < 0.5


def _fits(
    kept: Tensor, group: Tensor, could: Tensor, values: Tensor, seed: int
) -> tuple[float, ...]:
    """The row of one pair: kept (S, words), group and could (words,), values (S,)."""
    members = [torch.nonzero(group == one)[:, 0].tolist() for one in group.unique() if one >= 0]
    spread = sum(float((part - part.mean()).square().sum()) for part in _halves(values))
    if not members or float(values.var(correction=0)) <= FLAT:
        return (0.0,) * 6
    known = torch.nonzero(could)[:, 0].tolist()
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(known), generator=generator).tolist() for _ in range(DRAWS)]
    drawn = [_cut([known[i] for i in order], members) for order in orders]
    effects = _effects(kept, members)
    count = effects.shape[1]
    best = [
        kept[:, _strength(kept[fit], values[fit]).argsort(descending=True, stable=True)[:count]]
        for fit in _folds(len(kept))
    ]
    right = [_r2([effects] * 2, values, spread), _r2(best, values, spread)]
    random = [_r2([_effects(kept, own)] * 2, values, spread) for own in drawn]
    runs = _r2([_effects(kept, _cut(known, members))] * 2, values, spread)
    return 1.0, *right, sum(random) / DRAWS, runs, float(count)


def _cut(words: list[int], like: list[list[int]]) -> list[list[int]]:
    """Groups of the sizes of ``like``, of words in this order."""
    rest = iter(words)
    return [[next(rest) for _ in own] for own in like]


def _effects(kept: Tensor, members: list[list[int]]) -> Tensor:
    """Of each mask (S, effects): the words of groups, and each two words of one group."""
    single = [kept[:, i] for own in members for i in own]
    joint = [kept[:, i] * kept[:, j] for own in members for i, j in combinations(own, 2)]
    return torch.stack([*single, *joint], 1)


def _folds(samples: int) -> tuple[Tensor, Tensor]:
    """Which masks are fitted, (samples,) bool: one half, then the other."""
    half = torch.arange(samples) % 2 == 0
    return half, ~half


def _halves(values: Tensor) -> list[Tensor]:
    return [values[~fit] for fit in _folds(len(values))]


def _r2(numbers: list[Tensor], values: Tensor, spread: float) -> float:
    """On held-out masks, of the numbers (S, m) that are taken in each fold."""
    folds = zip(numbers, _folds(len(values)), strict=True)
    return 1 - sum(_error(own, values, fit) for own, fit in folds) / spread


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
