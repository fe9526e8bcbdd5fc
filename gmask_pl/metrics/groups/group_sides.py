"""Do word groups join words of both sides?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gmask_pl.metrics.bootstrap import estimate, numbers
from gmask_pl.metrics.model_free import KnownWords
from gmask_pl.types import JSON, Explanation, PairExample


class GroupSides(KnownWords):
    """The share of groups with words of both sides, of the groups with more than one word.

    A row is (groups of several words, those with both sides, words in groups, groups).
    """

    meaning = "share of the groups of several words that join words of both sides"

    def knows(self, example: PairExample) -> bool:
        return True

    def add(self, explanation: Explanation, example: PairExample) -> None:
        if explanation.groups is None:
            return
        n1 = len(example.spans1)
        groups = explanation.groups.members.values()
        several = [group for group in groups if len(group) > 1]
        both = [group for group in several if min(group) < n1 <= max(group)]
        words = sum(map(len, groups))
        row = (len(several), len(both), words, len(groups))
        self.rows[explanation.id] = tuple(map(float, row))

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        """The share, of rows averaged over pairs."""
        return averages[..., 1] / averages[..., 0]

    def compute(self, labels: Sequence[str]) -> JSON | None:
        """value, low, high: of all groups of several words; n: pairs; size: mean words a group."""
        if not self.rows:
            return None
        rows = torch.tensor(list(self.rows.values()), dtype=torch.float64)
        found = estimate(
            rows,
            lambda mean: self.summary(mean).unsqueeze(-1),
            resamples=self.resamples,
            seed=self.seed,
        )
        value, low, high = (numbers(part)[0] for part in (found.value, found.low, found.high))
        size = float(rows[:, 2].sum() / rows[:, 3].sum())
        return {"value": value, "low": low, "high": high, "n": len(rows), "size": size}
