"""Recovery of known evidence: does an explanation name the words that decide the label?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gmask_pl.metrics.bootstrap import estimate, numbers
from gmask_pl.types import Explanation, Groups

Evidence = tuple[frozenset[int], ...]  # alternatives: each group of words decides by itself


def evidence_recovery(
    explanations: Sequence[Explanation], evidence: Mapping[str, Evidence], *, resamples: int
) -> dict[str, Any] | None:
    """The share of pairs whose evidence is found, with 95 % bootstrap intervals.

    value, low, high, n: the m words with the highest scores are one of the pair's evidence groups
    of m words. top_group, top_group_low, top_group_high: all words of one evidence group have
    their highest membership phi in the most important word group; None where the explainer finds
    no groups. None altogether when no explained pair carries evidence.
    """
    known = [e for e in explanations if evidence.get(e.id)]
    if not known:
        return None
    words = [_in_top_words(e.scores, evidence[e.id]) for e in known]
    found = estimate(_column(words), lambda share: share, resamples=resamples, seed=0).headline()
    grouped = [(e.groups, evidence[e.id]) for e in known if e.groups is not None]
    shares: list[float | None] = [None, None, None]
    if grouped:
        rows = _column([_in_top_group(groups, given) for groups, given in grouped])
        top = estimate(rows, lambda share: share, resamples=resamples, seed=0)
        shares = [numbers(part)[0] for part in (top.value, top.low, top.high)]
    names = ("top_group", "top_group_low", "top_group_high")
    return {**found, **dict(zip(names, shares, strict=True))}


def top_group(groups: Groups) -> frozenset[int]:
    """The words whose highest membership is in the most important group; of equals, the first."""
    first = groups.psi.index(max(groups.psi))
    members = zip(groups.candidates, groups.phi, strict=True)
    return frozenset(word for word, row in members if row.index(max(row)) == first)


def _in_top_words(scores: Sequence[float], evidence: Evidence) -> bool:
    order = sorted(range(len(scores)), key=lambda word: -scores[word])
    return any(group == frozenset(order[: len(group)]) for group in evidence)


def _in_top_group(groups: Groups, evidence: Evidence) -> bool:
    return any(group <= top_group(groups) for group in evidence)


def _column(found: list[bool]) -> torch.Tensor:
    return torch.tensor(found, dtype=torch.float64)[:, None]
