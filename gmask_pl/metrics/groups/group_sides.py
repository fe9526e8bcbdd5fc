"""Do word groups join words of both sides?"""

from __future__ import annotations

from torch import Tensor

from gmask_pl.explanation import Explanation
from gmask_pl.metrics.pair_metric import ModelFreeMetric
from gmask_pl.metrics.presentation import Presentation
from gmask_pl.types import JSON, PairExample


class GroupSides(ModelFreeMetric):
    """The share of groups with words of both sides, of the groups with more than one word.

    - resamples, seed: of the 95 % bootstrap interval over pairs.

    A row is (groups of several words, those with both sides, words in groups, groups).

    >>> from gmask_pl import GroupSides, InteractionGroups, PairExplainer
    >>> from gmask_pl.types import PairExample
    >>> def model(pairs):
    ...     return [float("not" in a and "never" in b) for a, b in pairs]
    >>> pair = PairExample("1", "not now", "never", ((0, 3), (4, 7)), ((0, 5),))
    >>> explain = PairExplainer(model, method=InteractionGroups.two_sided(k=3, t=2))
    >>> metric = GroupSides()
    >>> metric.update(explain(pair.text1, pair.text2), pair)
    >>> metric.compute(["no", "yes"])["value"]
    1.0
    """

    presentation = Presentation(
        meaning="share of the groups of several words that join words of both sides",
        unit="share of groups",
        range=(0, 1),
    )

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

    def result(self, rows: Tensor) -> JSON:
        """value, low, high: of all groups of several words; n: pairs; size: mean words a group."""
        size = float(rows[:, 2].sum() / rows[:, 3].sum())
        return super().result(rows) | {"size": size}
