"""Recovery of planted evidence: does an explanation name the words that decide the label?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from gmask_pl.metrics.bootstrap import estimate, numbers
from gmask_pl.metrics.model_free import KnownWords, Row
from gmask_pl.metrics.plausibility._agreement import average_precision, top_words
from gmask_pl.types import JSON, Explanation, Groups, PairExample

Evidence = Sequence[frozenset[int]]  # alternatives: each group of words decides by itself


class EvidenceRecovery(KnownWords):
    """The share of pairs whose evidence is found, and the AUPRC of the scores against it.

    A row is (found, AUPRC, in the top group, has word groups), the third 0 where the explainer
    finds no groups. One group of the evidence is enough, so each of these is for the best of them.
    """

    def knows(self, example: PairExample) -> bool:
        return bool(example.evidence)

    def add(self, explanation: Explanation, example: PairExample) -> None:
        e, evidence = explanation, example.evidence
        grouped = e.groups is not None and in_top_group(e.groups, evidence)
        row: Row = (
            float(in_top_words(e.scores, evidence)),
            evidence_precision(e.scores, evidence),
            float(grouped),
            float(e.groups is not None),
        )
        self.rows[e.id] = row

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        """The share of pairs whose evidence is found (...), of averaged rows (..., 4)."""
        return averages[..., 0]

    def compute(self, labels: Sequence[str]) -> JSON | None:
        """None when no pair carries evidence, else numbers with 95 % bootstrap intervals.

        value, low, high, n: the m words with the highest scores are one of the pair's evidence
        groups of m words. auprc, auprc_low, auprc_high: ``evidence_precision``; what it would be
        by chance is Random's. top_group, top_group_low, top_group_high: all words of one
        evidence group have their highest membership phi in the most important word group; None
        where the explainer finds no groups.
        """
        if not self.rows:
            return None
        rows = list(self.rows.values())
        grouped = [row[2:3] for row in rows if row[3]]
        return {
            **self._means([row[:1] for row in rows], "value", "low", "high"),
            "n": len(rows),
            **self._means([row[1:2] for row in rows], "auprc", "auprc_low", "auprc_high"),
            **self._means(grouped, "top_group", "top_group_low", "top_group_high"),
        }

    def _means(self, column: list[tuple[float, ...]], *names: str) -> JSON:
        if not column:
            return dict.fromkeys(names)
        rows: Tensor = torch.tensor(column, dtype=torch.float64)
        found = estimate(rows, lambda mean: mean, resamples=self.resamples, seed=self.seed)
        parts = (found.value, found.low, found.high)
        return {name: numbers(part)[0] for name, part in zip(names, parts, strict=True)}


def in_top_words(scores: Sequence[float], evidence: Evidence) -> bool:
    """Whether the m best words are one of the evidence groups of m words."""
    by_word = dict(enumerate(scores))
    return any(top_words(by_word, len(group)) == group for group in evidence)


def evidence_precision(scores: Sequence[float], evidence: Evidence) -> float:
    """Average precision of the scores against an evidence group, for the best of the groups.

    The words of the other groups are left out of that comparison. They decide as well, so
    ranking them high is no error; and one group is enough, so ranking them low is none.
    """
    known = frozenset(chain(*evidence))
    areas = []
    for group in evidence:
        kept = {w: score for w, score in enumerate(scores) if w in group or w not in known}
        areas.append(average_precision(kept, group))
    return max(areas)


def in_top_group(groups: Groups, evidence: Evidence) -> bool:
    """Whether one evidence group lies within the top word group."""
    return any(group <= top_group(groups) for group in evidence)


def top_group(groups: Groups) -> frozenset[int]:
    """The words whose highest membership is in the most important group; of equals, the first."""
    first = groups.psi.index(max(groups.psi))
    members = zip(groups.candidates, groups.phi, strict=True)
    return frozenset(word for word, row in members if row.index(max(row)) == first)
