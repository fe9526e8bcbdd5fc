"""Exact Shapley values of the candidate words (Shapley, 1953; Lundberg and Lee, 2017)."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from gmask_pl.explainers._coalition import (
    BOTH,
    CONTEXTS,
    KEEP,
    VALUES,
    CandidateExplainer,
    TableSize,
    value_table,
)
from gmask_pl.explainers.explainer import IN_LOG, IN_VALUE, Explainer
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import OneOf, checked
from gmask_pl.types import Attributions


class Shapley(CandidateExplainer):
    """A word's score is its fair share of what the k candidate words do for the prediction.

    - removal: how words are removed; None: as the model usually does.
    - word_filter: the explainer whose k best words take part; None: IMASK.
    - k: words that take part.
    - context: whether the other words are dropped or kept meanwhile, or both, which takes the mean.
    - value: the probability of the predicted class or its logarithm.

    It does not sample: it needs 2^k model evaluations per pair (2^(k+1) for both contexts), besides
    those of the filter. The shares add up to the worth of all k words minus that of none.

    >>> from gmask_pl import Occlusion, PairExplainer, Shapley
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> method = Shapley(k=3, word_filter=Occlusion())
    >>> explain = PairExplainer(model, method=method, labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> [(word, round(score, 3)) for word, score in found.top(2)]
    [('not', 0.4), ('never', 0.4)]
    """

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        word_filter: Explainer | None = None,
        k: TableSize = 10,
        context: Annotated[str, OneOf((*CONTEXTS, BOTH))] = KEEP,
        value: Annotated[str, OneOf(VALUES)] = "probability",
    ) -> None:
        super().__init__(removal=removal, word_filter=word_filter, k=k)
        self.context, self.value = context, value

    @property
    def tables(self) -> int:
        return 2 if self.context == BOTH else 1

    @property
    def score_meaning(self) -> str:  # type: ignore[override]
        return IN_VALUE if self.value == "probability" else IN_LOG

    def attribute(self, masked: MaskedModel, candidates: Tensor) -> Attributions:
        table = value_table(masked, candidates, context=self.context, value=self.value)
        return Attributions(shapley_values(table), (None,) * len(table))


def shapley_values(table: Tensor) -> Tensor:
    """Shapley values (B, k) of a coalition table (B, 2^k).

    phi_j = sum over S without j of |S|! (k - |S| - 1)! / k! * (v(S + j) - v(S)). A slot without a
    word changes no entry: its value is 0, and those of the others are as if it were not there.
    """
    b, size = table.shape
    k = size.bit_length() - 1
    weights = coalition_weights(k - 1, table) / k
    gains = []
    for j in range(k):
        without, with_word = table.view(b, 2**j, 2, -1).unbind(2)
        gains.append(((with_word - without).reshape(b, -1) * weights).sum(1))
    return torch.stack(gains, 1)


def coalition_weights(m: int, like: Tensor) -> Tensor:
    """1 / (m choose |S|) for the 2^m coalitions S of m words, in table order."""
    sizes = [i.bit_count() for i in range(2**m)]
    return like.new_tensor([1 / math.comb(m, size) for size in sizes])
