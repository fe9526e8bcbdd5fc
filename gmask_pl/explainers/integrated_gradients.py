"""Integrated gradients (Sundararajan et al., 2017)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from gmask_pl.explainers.explainer import IN_LOG, Explainer
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import Count, OneOf, checked
from gmask_pl.types import Attributions

METHODS = ("gausslegendre", "riemann_middle")


class IntegratedGradients(Explainer):
    """The integral of d log p(y|x) / d g_i over masks g from 0 to 1, all words moving together.

    - removal: ``zero``, ``mask`` or ``pad``, one that the model can differentiate.
    - n_steps: points of the quadrature.
    - method: of the quadrature, ``gausslegendre`` or ``riemann_middle``.

    Under the removal ``zero`` a mask multiplies word embeddings, so this is integrated gradients of
    the embeddings, summed over a word's tokens, from the baseline of words with embedding zero;
    under ``mask`` the baseline is the mask token. Special tokens stay as they are. Scores add up to
    log p(y|whole pair) - log p(y|all words at the baseline), up to the error of the quadrature. A
    positive score supports the prediction.

    Cost of a pair: one evaluation for the prediction, and n_steps with their gradients.

    >>> from gmask_pl import IntegratedGradients, PairExplainer, TinyBert
    >>> model = TinyBert.from_data(  # or any network: PairExplainer(network, tokenizer)
    ...     labels=["no", "yes"], word_counts={"two": 9, "dogs": 9, "run": 9, "sleep": 9}
    ... )
    >>> explain = PairExplainer(model, method=IntegratedGradients(n_steps=20))
    >>> found = explain("two dogs run", "dogs sleep")
    >>> len(found.scores), found.gradients
    (5, 20)
    """

    score_meaning = IN_LOG

    differentiates_masks = True

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = "zero",  # the zero embedding is the usual baseline
        n_steps: Count = 50,  # captum's default; 20 to 300 (Section 5)
        method: Annotated[str, OneOf(METHODS)] = "gausslegendre",  # captum's default
    ) -> None:
        super().__init__(removal=removal)
        self.points, self.weights = quadrature(method, n_steps)

    def __call__(self, masked: MaskedModel) -> Attributions:
        valid = masked.batch.word_valid.float()
        path = self.points.to(valid)[:, None] * valid[:, None]
        _, gradient = masked.loss_gradient(path)
        # A sum and no matrix product, which autocast would round to 16 bits.
        scores = -(self.weights.to(gradient)[:, None] * gradient).sum(1)
        return Attributions(scores, (None,) * len(valid))


def quadrature(method: str, n: int) -> tuple[Tensor, Tensor]:
    """Points and weights (n,) of an integral from 0 to 1."""
    if method == "gausslegendre":
        points, weights = np.polynomial.legendre.leggauss(n)
        return torch.from_numpy((1 + points) / 2), torch.from_numpy(weights / 2)
    return (torch.arange(n) + 0.5) / n, torch.full((n,), 1 / n)
