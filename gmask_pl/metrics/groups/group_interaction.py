"""Is the strongest interaction of words across the two texts inside one group?"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import comb
from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.metrics.bootstrap import numbers
from gmask_pl.metrics.groups._grouped_words import (
    candidate_words,
    every_subset,
    grouped_words,
    groups_given,
)
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import Part, Presentation
from gmask_pl.question import Answers
from gmask_pl.settings import Range, checked
from gmask_pl.types import JSON


class GroupInteraction(PairMetric):
    """How often the strongest positive interaction across the texts lies inside one group.

    - least: the smallest interaction that counts, as a share of the range of the answers.
    - max_words: the most words that an explainer could have grouped, which fixes what is asked of
      the model.
    - resamples, seed: of the 95 % bootstrap interval over pairs.

    The interactions are those of `faithful_interactions`, of the words that could have been grouped
    and without all other words. Pairs without groups take no part, nor do those without an
    interaction that counts. Raises UserError for a pair with more words, ValueError where no groups
    or sides are given.

    A row: whether the pair counts, whether the interaction is inside a group, and the chance of
    this for random groups of the same sizes.

    >>> import torch
    >>> from gmask_pl import ExplanationMetric, GroupInteraction
    >>> def ask(keep):  # two words decide: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., 0] & keep[..., 2], 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 1.0, 2.0]])
    >>> metric = ExplanationMetric(GroupInteraction())
    >>> groups, side = torch.tensor([[0, 1, 0]]), torch.tensor([[0, 0, 1]])
    >>> metric.update(ask, scores, valid, ask(valid), groups, side=side)
    >>> found = metric.compute()
    >>> found["value"], round(found["chance"], 2)
    (1.0, 0.33)
    """

    presentation = Presentation(
        meaning="pairs whose strongest interaction across the texts lies inside one group",
        unit="share of pairs",
        range=(0, 1),
        parts=(Part("chance", meaning="the same for random groups of the same sizes"),),
    )

    @checked
    def __init__(
        self,
        *,
        least: Annotated[float, Range(0.0, 1.0)] = 0.05,
        max_words: Annotated[int, Range(2, 12, why="words: 2^max_words answers")] = 10,
        **bootstrap: Any,
    ) -> None:
        super().__init__(**bootstrap)
        self.least, self.max_words = least, max_words

    def masks(self, pairs: RankedPairs) -> Tensor:
        """All subsets of the words that could have been grouped, alone: (B, 2^max_words, W)."""
        return every_subset(self._words(pairs), pairs.valid)

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        groups, words = groups_given(pairs, "GroupInteraction"), self._words(pairs)
        if pairs.side is None:
            raise ValueError("GroupInteraction: give the side of every word")
        rows = []
        tables = answers.value.double().cpu()
        given = zip(words.cpu(), groups.cpu(), pairs.side.cpu(), tables, strict=True)
        for places, group, side, table in given:
            known = places[places >= 0]
            rows.append(self._row(group[known], side[known], table[: 2 ** len(known)]))
        return torch.tensor(rows, dtype=answers.value.dtype, device=answers.value.device)

    def _row(self, group: Tensor, side: Tensor, table: Tensor) -> tuple[float, float, float]:
        n = len(group)
        grouped = bool((group >= 0).any())
        across = [(i, j) for i, j in combinations(range(n), 2) if side[i] != side[j]]
        if not grouped or not across:
            return 0.0, 0.0, 0.0
        _, pairs = faithful_interactions(table)
        strength, one, two = max((float(pairs[i, j]), i, j) for i, j in across)
        if strength <= 0 or strength < self.least * float(table.max() - table.min()):
            return 0.0, 0.0, 0.0
        sizes = group[group >= 0].unique(return_counts=True)[1]
        chance = float((sizes * (sizes - 1)).sum()) / (n * (n - 1))
        return 1.0, float(group[one] == group[two] and group[one] >= 0), chance

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return averages[..., 1] / averages[..., 0]

    def result(self, rows: Tensor) -> JSON:
        """value, low, high; n: pairs that count; chance."""
        found = self.estimate(rows, lambda means: means[..., 1:] / means[..., :1])
        counts = float(found.averages[0])
        told = {"n": round(counts * found.n), "chance": numbers(found.value)[1]}
        return found.headline() | told

    def _words(self, pairs: RankedPairs) -> Tensor:
        known = candidate_words(pairs, "GroupInteraction")
        return grouped_words(torch.where(known, 0, -1), self.max_words, "GroupInteraction")


def faithful_interactions(table: Tensor) -> tuple[Tensor, Tensor]:
    """Faithful Shapley interactions of order 2 (Tsai, Yeh and Ravikumar, 2023) of a whole table.

    table (2^n,) float64: the answers to all subsets of n words; word j has bit j of the index, the
    last word the highest. The additive model of words and of two words that is nearest to the
    table in the weights of Shapley values, and equal to it for no word and for all. Returns its
    effects of words (n,), and of two words (n, n), symmetric and 0 on the diagonal.

    >>> import torch
    >>> from gmask_pl.metrics.groups.group_interaction import faithful_interactions
    >>> single, double = faithful_interactions(torch.tensor([0.0, 1.0, 2.0, 5.0]).double())
    >>> single.round(decimals=6).tolist(), round(float(double[0, 1]), 6)
    ([1.0, 2.0], 2.0)
    """
    n = len(table).bit_length() - 1
    effects = _solution(n) @ table.double()
    pairs = torch.zeros(n, n, dtype=torch.float64)
    for place, (i, j) in enumerate(combinations(range(n), 2), start=n + 1):
        pairs[i, j] = pairs[j, i] = effects[place]
    return effects[1 : n + 1], pairs


@cache
def _solution(n: int) -> Tensor:
    """The matrix (1 + n + n (n - 1) / 2, 2^n) that gives the effects of a table.

    Weighted least squares under two constraints, which are solved for with a multiplier each.
    """
    bits = (torch.arange(2**n)[:, None] >> torch.arange(n)) & 1
    joint = [bits[:, i] * bits[:, j] for i, j in combinations(range(n), 2)]
    design = torch.cat([torch.ones(2**n, 1, dtype=torch.int64), bits], 1)
    design = torch.cat([design, *(one[:, None] for one in joint)], 1).double()
    size = bits.sum(1).tolist()
    weight = [0.0 if s in (0, n) else 1 / comb(n - 2, s - 1) for s in size]
    weighted = design * torch.tensor(weight, dtype=torch.float64)[:, None]
    ends = design[[0, -1]]
    m = design.shape[1]
    system = torch.zeros(m + 2, m + 2, dtype=torch.float64)
    system[:m, :m], system[:m, m:], system[m:, :m] = weighted.T @ design, ends.T, ends
    right = torch.zeros(m + 2, 2**n, dtype=torch.float64)
    right[:m], right[m, 0], right[m + 1, -1] = weighted.T, 1.0, 1.0
    solution: Tensor = torch.linalg.pinv(system)[:m] @ right
    return solution
