"""Do word groups join the words that people align between the two texts?"""

from __future__ import annotations

import torch
from torch import Tensor

from gmask_pl.explanation import Explanation
from gmask_pl.metrics.bootstrap import numbers
from gmask_pl.metrics.pair_metric import ModelFreeMetric
from gmask_pl.metrics.presentation import Presentation
from gmask_pl.types import JSON, PairExample


class AlignmentAgreement(ModelFreeMetric):
    """Pairs of words of the two sides in one group, against gold alignments between these words.

    - resamples, seed: of the 95 % bootstrap interval over pairs.

    Only the candidate words of the groups take part, so the metric judges the grouping and not the
    choice of words. A candidate that is in no group is in one group with no other word.
    ``chance`` has the precision, recall and F1 of as many random pairs of these words across the
    sides, in closed form. ``identity`` has those of the pairs that are the same word, whatever its
    case: people mostly align these.

    A row is (pairs in one group, gold pairs, both, all pairs across the sides, pairs of the same
    word, gold ones of these); numbers are of the sums over all text pairs.

    >>> from gmask_pl import AlignmentAgreement, InteractionGroups, PairExplainer
    >>> from gmask_pl.types import PairExample
    >>> def model(pairs):
    ...     return [float("not" in a and "never" in b) for a, b in pairs]
    >>> pair = PairExample(
    ...     "1", "not now", "never", ((0, 3), (4, 7)), ((0, 5),), alignments=frozenset({(0, 0)})
    ... )
    >>> explain = PairExplainer(model, method=InteractionGroups.two_sided(k=3, t=2))
    >>> metric = AlignmentAgreement()
    >>> metric.update(explain(pair.text1, pair.text2), pair)
    >>> metric.compute(["no", "yes"])["value"]
    1.0
    """

    presentation = Presentation(
        meaning="F1 of word pairs in one group, one of each side, against gold word alignments",
        unit="F1",
        range=(0, 1),
    )

    def knows(self, example: PairExample) -> bool:
        return example.alignments is not None

    def add(self, explanation: Explanation, example: PairExample) -> None:
        if explanation.groups is None or example.alignments is None:
            return
        n1 = len(example.spans1)
        groups, words = explanation.groups.members.values(), explanation.groups.candidates
        together = {
            (i, j - n1) for group in groups for i in group if i < n1 for j in group if j >= n1
        }
        across = {(i, j - n1) for i in words if i < n1 for j in words if j >= n1}
        gold = example.alignments & across
        first, second = example.words1, example.words2
        same = {(i, j) for i, j in across if first[i].lower() == second[j].lower()}
        found = (together, gold, together & gold, across, same, same & gold)
        self.rows[explanation.id] = tuple(float(len(pairs)) for pairs in found)

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        """F1 of rows averaged over text pairs."""
        return 2 * averages[..., 2] / (averages[..., 0] + averages[..., 1])

    def result(self, rows: Tensor) -> JSON:
        """value, low, high: F1; n; precision, recall; chance, identity: F1, precision, recall of
        random pairs and of pairs of the same word."""
        # What as many random pairs of the same text pair hit on average.
        hits = rows[:, 0] * rows[:, 1] / rows[:, 3].clamp_min(1)
        found = self.estimate(torch.cat([rows, hits[:, None]], 1), _agreement)
        parts = ("", "_precision", "_recall")
        other = [name + part for name in ("chance", "identity") for part in parts]
        names = ["precision", "recall", *other]
        return found.headline() | dict(zip(names, numbers(found.value[1:]), strict=True))


def _agreement(mean: Tensor) -> Tensor:
    """F1, precision and recall of the groups, of chance and of the same words: (..., 9)."""
    together, gold, both, _, same, same_gold, hits = mean.unbind(-1)
    columns = []
    for found, of in ((both, together), (hits, together), (same_gold, same)):
        columns += [2 * found / (of + gold), found / of, found / gold]
    return torch.stack(columns, -1)
