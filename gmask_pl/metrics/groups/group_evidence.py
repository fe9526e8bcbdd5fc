"""Do word groups recover the planted groups?"""

from __future__ import annotations

import torch

from gmask_pl.explanation import Explanation
from gmask_pl.metrics.pair_metric import ModelFreeMetric
from gmask_pl.metrics.plausibility.evidence import Evidence
from gmask_pl.metrics.presentation import Presentation
from gmask_pl.types import Groups, PairExample


class GroupEvidence(ModelFreeMetric):
    """The adjusted Rand index (Hubert and Arabie, 1985) of the word groups and the evidence.

    - resamples, seed: of the 95 % bootstrap interval over pairs.

    A row is the index of one pair, see `rand_index`. Whether the most important group holds the
    evidence is told by EvidenceRecovery.

    >>> from gmask_pl import GroupEvidence, InteractionGroups, PairExplainer
    >>> from gmask_pl.types import PairExample
    >>> def model(pairs):
    ...     return [float("not" in a and "never" in b) for a, b in pairs]
    >>> pair = PairExample(
    ...     "1", "not now", "never", ((0, 3), (4, 7)), ((0, 5),), evidence=(frozenset({0, 2}),)
    ... )
    >>> explain = PairExplainer(model, method=InteractionGroups.two_sided(k=3, t=2))
    >>> metric = GroupEvidence()
    >>> metric.update(explain(pair.text1, pair.text2), pair)
    >>> metric.compute(["no", "yes"])["value"]
    1.0
    """

    presentation = Presentation(
        meaning="agreement of the word groups with the planted ones: 1 the same, 0 chance",
        unit="adjusted Rand index",
        range=(-0.5, 1),
    )

    def knows(self, example: PairExample) -> bool:
        return bool(example.evidence)

    def add(self, explanation: Explanation, example: PairExample) -> None:
        if explanation.groups is not None:
            index = rand_index(explanation.groups, example.evidence)
            self.rows[explanation.id] = (index,)


def rand_index(groups: Groups, evidence: Evidence) -> float:
    """The index over the candidate words: 1 where they are as known, 0 what random groups have.

    Each group of the evidence is a cluster, and so are all other words together; in the same way
    each group that is found, and all candidates of no group. It is 0 where no word is in a group.

    >>> from gmask_pl.metrics.groups.group_evidence import rand_index
    >>> from gmask_pl.types import Groups
    >>> groups = Groups((0, 1, 2), phi=((0.9, 0.1), (0.2, 0.8), (0.7, 0.3)), psi=(0.6, 0.4))
    >>> rand_index(groups, [frozenset({0, 2})])
    1.0
    """
    from torchmetrics.functional.clustering import adjusted_rand_score  # imports matplotlib

    if not groups.members:
        return 0.0
    clusters = groups.clusters
    known = [next((i for i, own in enumerate(evidence, 1) if word in own), 0) for word in clusters]
    found = torch.tensor(list(clusters.values()))
    return float(adjusted_rand_score(found, torch.tensor(known)))
