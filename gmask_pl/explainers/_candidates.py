"""Explainers of the k best words of a filter, which rank the other words below these."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from torch import Tensor

from gmask_pl.explainers._coalition import choose_candidates, merge_scores
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.imask import IMask
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.types import Attributions, PairBatch


class CandidateExplainer(Explainer):
    """Scores the k best words of ``word_filter``; the others follow in its order (Section 3.3).

    word_filter: None is IMASK, as in the paper.
    """

    def __init__(
        self, *, removal: RemovalName | None, word_filter: Explainer | None, k: int, seed: int = 0
    ) -> None:
        super().__init__(removal=removal)
        self.word_filter = word_filter or IMask(removal=removal, seed=seed)
        self.k = k
        self.differentiates_masks = self.word_filter.differentiates_masks

    def __call__(self, masked: MaskedModel) -> Attributions:
        filtered = self.word_filter(masked).scores
        candidates = self.candidates(filtered, masked.batch)
        found = self.attribute(masked, candidates)
        valid = masked.batch.word_valid
        return replace(found, scores=merge_scores(found.scores, candidates, filtered, valid))

    def candidates(self, filtered: Tensor, batch: PairBatch) -> Tensor:
        """The k words (B, k) of the filter's scores (B, W), -1 where a pair has fewer."""
        return choose_candidates(filtered, batch, self.k)

    @abstractmethod
    def attribute(self, masked: MaskedModel, candidates: Tensor) -> Attributions:
        """Scores of the candidates (B, k), and what else is found of them."""
