"""Which words of a group could be left out without a change in what the group does?"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.metrics.groups._grouped_words import grouped_words, groups_given
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import Presentation
from gmask_pl.question import Answers
from gmask_pl.settings import Count, Range, checked
from gmask_pl.types import JSON


class GroupExcess(PairMetric):
    """The share of words that their group does not need.

    - tolerance: the share of its effect that a group may lose without a word that it does not need.
    - max_words: the most grouped words a pair may have, which fixes what is asked of the model.
    - resamples, seed: of the 95 % bootstrap interval over pairs.

    The effect of words is the mean of what they bring alone, p(y|them) - p(y|nothing), and of what
    is missed without them, p(y|x) - p(y|x without them). Only groups of several words with an
    effect above 0 count. Raises UserError for a pair with more words, ValueError where no groups
    are given.

    A row: the words of groups that count, and how many of these their group does not need.

    >>> import torch
    >>> from gmask_pl import ExplanationMetric, GroupExcess
    >>> def ask(keep):  # two words decide: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., :2].all(-1), 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 2.0, 1.0]])
    >>> metric = ExplanationMetric(GroupExcess())
    >>> metric.update(ask, scores, valid, ask(valid), torch.tensor([[0, 0, 0]]))
    >>> round(metric.compute()["value"], 3)  # one word of three
    0.333
    """

    presentation = Presentation(
        meaning="words that their group does not need: without them it does the same",
        unit="share of words",
        range=(0, 1),
        higher_is_better=False,
    )

    @checked
    def __init__(
        self,
        *,
        tolerance: Annotated[float, Range(0.0, 1.0)] = 0.05,
        max_words: Count = 16,
        **bootstrap: Any,
    ) -> None:
        super().__init__(**bootstrap)
        self.tolerance, self.max_words = tolerance, max_words

    def masks(self, pairs: RankedPairs) -> Tensor:
        """The group of each word, and the group without the word; alone, then what is left; and
        no word."""
        groups = groups_given(pairs, "GroupExcess")
        words = grouped_words(groups, self.max_words, "GroupExcess")
        owner = _owner(groups, words)
        position = torch.arange(groups.shape[1], device=groups.device)
        own = (groups[:, None] == owner[..., None]) & (owner >= 0)[..., None]
        chosen = torch.cat([own, own & (words[..., None] != position)], 1)
        none = torch.zeros_like(own[:, :1])
        return torch.cat([chosen, ~chosen, none], 1) & pairs.valid[:, None]

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        groups = groups_given(pairs, "GroupExcess")
        owner = _owner(groups, grouped_words(groups, self.max_words, "GroupExcess"))
        value = answers.value
        alone, without = value[:, :-1].chunk(2, 1)
        effect = (alone - value[:, -1:] + pairs.whole[:, None] - without) / 2
        whole, rest = effect.chunk(2, 1)
        several = ((owner[:, :, None] == owner[:, None]) & (owner >= 0)[:, None]).sum(2) > 1
        counts = several & (owner >= 0) & (whole > 0)
        spare = counts & (rest >= (1 - self.tolerance) * whole)
        return torch.stack([counts.sum(1), spare.sum(1)], 1).to(value)

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return averages[..., 1] / averages[..., 0]

    def result(self, rows: Tensor) -> JSON:
        """value, low, high; n: pairs with a group that counts."""
        found = self.estimate(rows, lambda means: self.summary(means)[..., None])
        return found.headline() | {"n": int((rows[:, 0] > 0).sum())}


def _owner(groups: Tensor, words: Tensor) -> Tensor:
    """The group (B, m) of each grouped word, -1 in spare places."""
    return torch.where(words < 0, -1, groups.gather(1, words.clamp_min(0)))
