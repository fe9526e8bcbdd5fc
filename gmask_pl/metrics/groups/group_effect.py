"""Do the words of a group matter more together than one by one?"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from gmask_pl.metrics.bootstrap import numbers
from gmask_pl.metrics.groups._grouped_words import grouped_words, groups_given
from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs
from gmask_pl.metrics.presentation import Presentation
from gmask_pl.question import Answers
from gmask_pl.settings import Count, OneOf, checked
from gmask_pl.types import JSON, UserError

SIDES = ("removed", "kept")


class GroupEffect(PairMetric):
    """The effect of a group of words, minus the sum of its words' single effects.

    - side: the effect of a set of words, y being the prediction on the whole pair. ``removed``:
      what is missed without them, p(y|x) - p(y|x without them). Words that can replace one another
      matter only together: above 0. If words decide together, each is missed as much as all of
      them: below 0. ``kept``: what they do alone, p(y|them) - p(y|nothing). Words that decide
      together are above 0, words that can replace one another below.
    - max_groups, max_words: the most groups and grouped words a pair may have, which fix what is
      asked of the model.
    - resamples, seed: of the 95 % bootstrap interval over pairs.

    Unrelated words have 0, so neither sign is better. Groups of one word take no part; neither do
    pairs without a group of several words, which ``n`` leaves out. Raises UserError for a pair with
    more groups or words, ValueError where no groups are given.

    A row: whether the pair counts, and over its groups the mean effect of a group, the mean sum
    of single effects, and both for the most important group that counts.

    >>> import torch
    >>> from gmask_pl import ExplanationMetric, GroupEffect
    >>> def ask(keep):  # two words decide: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., :2].all(-1), 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 2.0, 1.0]])
    >>> metric = ExplanationMetric(GroupEffect(side="kept"))
    >>> metric.update(ask, scores, valid, ask(valid), torch.tensor([[0, 0, -1]]))
    >>> found = metric.compute()
    >>> round(found["value"], 3), round(found["together"], 3), round(found["alone"], 3)
    (0.8, 0.8, 0.0)
    """

    presentation = Presentation(
        meaning="effect of a group, less the sum of its words' single effects",
        unit="probability",
        higher_is_better=None,
    )

    @checked
    def __init__(
        self,
        *,
        side: Annotated[str, OneOf(SIDES)],
        max_groups: Count = 8,
        max_words: Count = 16,
        **bootstrap: Any,
    ) -> None:
        super().__init__(**bootstrap)
        self.side = side
        self.max_groups = max_groups
        self.max_words = max_words

    def masks(self, pairs: RankedPairs) -> Tensor:
        """The pair without each group, each grouped word and no word, or each of these alone.

        A spare place is the last of these again.
        """
        groups = self._groups(pairs)
        words = grouped_words(groups, self.max_words, "GroupEffect")
        position = torch.arange(groups.shape[1], device=groups.device)
        number = torch.arange(self.max_groups, device=groups.device)
        of_group = groups[:, None] == number[None, :, None]
        of_word = words[..., None] == position
        chosen = torch.cat([of_group, of_word, torch.zeros_like(of_word[:, :1])], 1)
        return (chosen if self.side == "kept" else ~chosen) & pairs.valid[:, None]

    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        effects = answers.value[:, :-1] - answers.value[:, -1:]
        effects = effects if self.side == "kept" else -effects
        groups = self._groups(pairs)
        words = grouped_words(groups, self.max_words, "GroupEffect")
        together, alone = effects.split([self.max_groups, self.max_words], 1)
        owner = torch.where(words < 0, -1, groups.gather(1, words.clamp_min(0)))
        number = torch.arange(self.max_groups, device=groups.device)
        member = (owner[:, None] == number[None, :, None]).to(effects)  # (B, groups, words)
        sums = (member * alone[:, None]).sum(2)
        several = member.sum(2) > 1
        count = several.sum(1)
        counts = count > 0
        share = several / count.clamp_min(1)[:, None]
        first = several.long().argmax(1, keepdim=True)
        columns = [
            counts.to(effects),
            (share * together).sum(1),
            (share * sums).sum(1),
            together.gather(1, first)[:, 0] * counts,
            sums.gather(1, first)[:, 0] * counts,
        ]
        return torch.stack(columns, 1)

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        return (averages[..., 1] - averages[..., 2]) / averages[..., 0]

    def result(self, rows: Tensor) -> JSON:
        """value, low, high, n; together, alone: the two parts of the value; top_*: all of these
        of the most important group. None for each where no pair has a group of several words."""

        def statistic(averages: Tensor) -> Tensor:
            top = (averages[..., 3] - averages[..., 4]) / averages[..., 0]
            return torch.stack([self.summary(averages), top], -1)

        found = self.estimate(rows, statistic)
        counts, *sums = found.averages.tolist()
        together, alone, top_together, top_alone = (s / counts if counts else None for s in sums)
        value, low, high = map(numbers, (found.value, found.low, found.high))
        return {
            **found.headline(),
            "n": round(counts * found.n),
            "together": together,
            "alone": alone,
            "top_value": value[1],
            "top_low": low[1],
            "top_high": high[1],
            "top_together": top_together,
            "top_alone": top_alone,
        }

    def _groups(self, pairs: RankedPairs) -> Tensor:
        groups = groups_given(pairs, "GroupEffect")
        largest = int(groups.max()) + 1 if groups.numel() else 0
        if largest > self.max_groups:
            raise UserError(
                f"a pair has {largest} groups: set GroupEffect.max_groups={largest} or more"
            )
        return groups
