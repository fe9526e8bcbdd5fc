"""Recovery of planted evidence: does an explanation name the words that decide the label?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from torch import Tensor

from gmask_pl.explanation import Explanation
from gmask_pl.metrics.floor import told
from gmask_pl.metrics.pair_metric import ModelFreeMetric
from gmask_pl.metrics.plausibility.rationale_agreement import average_precision, top_words
from gmask_pl.metrics.presentation import Part, Presentation
from gmask_pl.types import JSON, Groups, PairExample

Evidence = Sequence[frozenset[int]]  # alternatives: each group of words decides by itself


class EvidenceRecovery(ModelFreeMetric):
    """The share of pairs whose evidence is found, and the AUPRC of the scores against it.

    - resamples, seed: of the 95 % bootstrap interval over pairs.

    A row is (found, AUPRC, in the top group, has word groups), the third 0 where the explainer
    finds no groups. One group of the evidence is enough, so each of these is for the best of them.

    >>> from gmask_pl import EvidenceRecovery, PairExplainer
    >>> from gmask_pl.types import PairExample
    >>> def model(pairs):
    ...     return [float("not" in a and "never" in b) for a, b in pairs]
    >>> pair = PairExample(
    ...     "1", "not now", "never", ((0, 3), (4, 7)), ((0, 5),), evidence=(frozenset({0, 2}),)
    ... )
    >>> explain = PairExplainer(model, method="occlusion")
    >>> metric = EvidenceRecovery()
    >>> metric.update(explain(pair.text1, pair.text2), pair)
    >>> metric.compute(["no", "yes"])["value"]
    1.0
    """

    presentation = Presentation(
        title="Evidence found",
        heading="evidence",
        meaning="pairs whose top words are exactly the words known to decide the label",
        unit="share of pairs",
        range=(0, 1),
        digits=2,
        interval=False,
        parts=(
            Part(
                "top_group",
                "pairs whose most important word group holds those words",
                title="in the top group",
                heading="top group",
            ),
            Part(
                "auprc",
                "area under the precision-recall curve of the scores for those words",
                title="AUPRC",
                heading="AUPRC",
            ),
        ),
        place=4,
    )

    def knows(self, example: PairExample) -> bool:
        return bool(example.evidence)

    def add(self, explanation: Explanation, example: PairExample) -> None:
        scores, groups, evidence = explanation.scores, explanation.groups, example.evidence
        grouped = groups is not None and in_top_group(groups, evidence)
        self.rows[explanation.id] = (
            float(in_top_words(scores, evidence)),
            evidence_precision(scores, evidence),
            float(grouped),
            float(groups is not None),
        )

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        """The share of pairs whose evidence is found (...), of averaged rows (..., 4)."""
        return averages[..., 0]

    def result(self, rows: Tensor) -> JSON:
        """Numbers with 95 % bootstrap intervals.

        value, low, high, n: the m words with the highest scores are one of the pair's evidence
        groups of m words. auprc, auprc_low, auprc_high: ``evidence_precision``; what it would be
        by chance is Random's. top_group, top_group_low, top_group_high: all words of one
        evidence group have their highest membership phi in the most important word group; None
        where the explainer finds no groups.
        """
        grouped = rows[rows[:, 3] > 0, 2:3]
        unknown = dict.fromkeys(("top_group", "top_group_low", "top_group_high"))
        top = told("top_group", self.estimate(grouped)) if len(grouped) else unknown
        return super().result(rows) | top | told("auprc", self.estimate(rows[:, 1:2]))


def in_top_words(scores: Sequence[float], evidence: Evidence) -> bool:
    """Whether the m best words are one of the evidence groups of m words.

    >>> from gmask_pl.metrics.plausibility.evidence import in_top_words
    >>> in_top_words([0.9, 0.1, 0.8], [frozenset({0, 2})])
    True
    """
    by_word = dict(enumerate(scores))
    return any(top_words(by_word, len(group)) == group for group in evidence)


def evidence_precision(scores: Sequence[float], evidence: Evidence) -> float:
    """Average precision of the scores against an evidence group, for the best of the groups.

    The words of the other groups are left out of that comparison. They decide as well, so
    ranking them high is no error; and one group is enough, so ranking them low is none.

    >>> from gmask_pl.metrics.plausibility.evidence import evidence_precision
    >>> evidence_precision([0.9, 0.5, 0.1], [frozenset({0, 2})])  # 1/2 * 1/1 + 1/2 * 2/3
    0.8333333333333333
    """
    known = frozenset(chain(*evidence))
    areas = []
    for group in evidence:
        kept = {w: score for w, score in enumerate(scores) if w in group or w not in known}
        areas.append(average_precision(kept, group))
    return max(areas)


def in_top_group(groups: Groups, evidence: Evidence) -> bool:
    """Whether one evidence group lies within the top word group.

    >>> from gmask_pl.metrics.plausibility.evidence import in_top_group
    >>> from gmask_pl.types import Groups
    >>> groups = Groups((0, 1, 2), phi=((0.9, 0.1), (0.2, 0.8), (0.7, 0.3)), psi=(0.6, 0.4))
    >>> in_top_group(groups, [frozenset({0, 2})]), in_top_group(groups, [frozenset({0, 1})])
    (True, False)
    """
    return any(group <= top_group(groups) for group in evidence)


def top_group(groups: Groups) -> frozenset[int]:
    """The words whose highest membership is in the most important group; of equals, the first.

    None where there are no groups.

    >>> from gmask_pl.metrics.plausibility.evidence import top_group
    >>> from gmask_pl.types import Groups
    >>> groups = Groups((0, 1, 2), phi=((0.9, 0.1), (0.2, 0.8), (0.7, 0.3)), psi=(0.6, 0.4))
    >>> sorted(top_group(groups))
    [0, 2]
    """
    if not groups.psi:
        return frozenset()
    return groups.members.get(groups.psi.index(max(groups.psi)), frozenset())
