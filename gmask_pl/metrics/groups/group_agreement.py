"""How alike two explanations of one pair are: their groups, the top group, and the scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from gmask_pl.explanation import Explanation
from gmask_pl.metrics.paired_tests import kendall_tau


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two explanations of one pair.

    - rand: the adjusted Rand index (Hubert and Arabie, 1985) of the groups, over the candidate
      words that both have; candidates of no group are one cluster. None where they share fewer than
      two.
    - jaccard: shared words of the most important groups, as a share of all their words; 1 where
      neither has any.
    - tau: Kendall's tau-b of the scores of all words that both have.
    """

    rand: float | None
    jaccard: float
    tau: float


def agreement(
    one: Explanation, other: Explanation, places: Mapping[int, int] | None = None
) -> Agreement:
    """How alike two explanations with groups are.

    - places: the position in ``other`` of each word position of ``one`` that is there, too. None:
      all words are the same.

    Raises ValueError where an explanation has no groups, or the words differ.

    >>> from gmask_pl import JointGroups, PairExplainer
    >>> from gmask_pl.metrics.groups.group_agreement import agreement
    >>> def model(pairs):
    ...     return [float("not" in a and "never" in b) for a, b in pairs]
    >>> explain = PairExplainer(model, method=JointGroups(k=4))
    >>> found = explain("do not go", "he never goes")
    >>> again = explain("do not", "he never goes")
    >>> agreement(found, again, {0: 0, 1: 1, 3: 2, 4: 3, 5: 4}).jaccard
    1.0
    """
    if one.groups is None or other.groups is None:
        raise ValueError("agreement: give explanations with groups")
    shared = {i: i for i in range(len(one.words))} if places is None else dict(places)
    if any(one.words[i] != other.words[j] for i, j in shared.items()):
        raise ValueError("agreement: the words of the two explanations differ")
    first, second = one.groups.clusters, other.groups.clusters
    both = [(first[i], second[j]) for i, j in shared.items() if i in first and j in second]
    top = {shared.get(i, -1 - i) for i in _top(one)}
    top_other = set(_top(other))
    union = top | top_other
    return Agreement(
        rand=_rand(both),
        jaccard=len(top & top_other) / len(union) if union else 1.0,
        tau=kendall_tau(
            [one.scores[i] for i in shared], [other.scores[j] for j in shared.values()]
        ),
    )


def _top(explanation: Explanation) -> tuple[int, ...]:
    groups = explanation.word_groups
    return groups[0].positions if groups else ()


def _rand(clusters: list[tuple[int, int]]) -> float | None:
    from torchmetrics.functional.clustering import adjusted_rand_score  # imports matplotlib

    if len(clusters) < 2:
        return None
    first, second = torch.tensor(clusters).T
    return float(adjusted_rand_score(first, second))
