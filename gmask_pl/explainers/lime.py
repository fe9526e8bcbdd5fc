"""LIME for sentence pairs (Ribeiro et al., 2016), as its authors' `lime_text` has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from gmask_pl.explainers.explainer import IN_VALUE, Explainer, example_generators, small_enough
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import Positive, Seed, at_least, checked
from gmask_pl.types import Attributions


class Lime(Explainer):
    """Scores words by a weighted ridge regression of the question's number on masks.

    In the paper this number is the probability of the predicted class.

    - removal: how words are removed; None: as the model usually does.
    - samples: rows of the regression.
    - kernel_width: the width of the kernel that weights rows.
    - alpha: the ridge penalty; the intercept has none.
    - seed: of the random masks.

    The features are all n word positions of both sides. Row 0 is the whole pair. Every other of the
    ``samples`` rows removes a number of words drawn uniformly from 1 to n, at positions drawn
    without replacement. The weight of a row is sqrt(exp(-d^2 / kernel_width^2)), where d is 100
    times the cosine distance between its mask and that of the whole pair. A positive score supports
    the prediction.

    Cost of a pair: one evaluation for the prediction and one for each distinct row, so at most
    samples + 1; no gradients. Defaults are those of `lime_text`.

    >>> from gmask_pl import Lime, PairExplainer
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(model, method=Lime(samples=500), labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> sorted(word for word, _ in found.top(2))
    ['never', 'not']
    """

    score_meaning = IN_VALUE

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        samples: Annotated[int, at_least(2, "the whole pair and one mask")] = 5000,
        kernel_width: Positive = 25.0,
        alpha: Positive = 1.0,
        seed: Seed = 0,
    ) -> None:
        super().__init__(removal=removal)
        self.samples, self.kernel_width, self.alpha = samples, kernel_width, alpha
        self.seed = seed

    def _ask_at_most(self, budget: int) -> None:
        small_enough("LIME", 3, budget)
        self.samples = min(self.samples, budget - 1)

    def __call__(self, masked: MaskedModel) -> Attributions:
        valid = masked.batch.word_valid
        generators = example_generators(self.seed, masked.batch.keys)
        sets = [
            perturbations(n, self.samples, generator)
            for n, generator in zip(valid.sum(1).tolist(), generators, strict=True)
        ]
        keep = over_words(sets, valid)
        values = masked.values(keep)
        weights = proximity(keep, valid, self.kernel_width)
        scores = ridge(keep.double(), values.double(), weights, self.alpha)
        return Attributions(scores * valid, (None,) * len(masked.batch))


def perturbations(n: int, samples: int, generator: torch.Generator) -> Tensor:
    """The rows of one pair, (samples, n) bool, true where a word is kept."""
    removed = torch.randint(1, max(n, 1) + 1, (samples - 1,), generator=generator)
    whole = torch.ones(1, n, dtype=torch.bool)
    return torch.cat([whole, ~random_subsets(n, removed, generator)])


def proximity(keep: Tensor, valid: Tensor, kernel_width: float) -> Tensor:
    """The weight of every row, (B, S) float64, for masks (B, S, W) over valid words (B, W).

    The cosine of a mask of m words and the mask of all n is sqrt(m / n).
    """
    n = valid.sum(1, keepdim=True).double()
    distance = 100 * (1 - (keep.sum(2) / n.clamp_min(1)).sqrt())
    return (-(distance**2) / kernel_width**2).exp().sqrt()


def ridge(features: Tensor, targets: Tensor, weights: Tensor, alpha: float) -> Tensor:
    """argmin_c sum_s w_s (y_s - c_0 - x_s c)^2 + alpha |c|^2 without c_0, for every example.

    features (B, S, W), targets (B, S), weights (B, S) -> c (B, W). A constant feature gets 0.
    """
    share = weights / weights.sum(1, keepdim=True)
    x = features - torch.einsum("bs,bsw->bw", share, features)[:, None]
    y = targets - (share * targets).sum(1, keepdim=True)
    weighted = x * weights[..., None]
    gram = torch.einsum("bsv,bsw->bvw", weighted, x)
    penalty = alpha * torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
    slopes: Tensor = torch.linalg.solve(gram + penalty, torch.einsum("bsw,bs->bw", weighted, y))
    return slopes


def random_subsets(n: int, sizes: Tensor, generator: torch.Generator) -> Tensor:
    """Sets of ``sizes`` (S,) of n things, each set of its size equally likely: (S, n) bool."""
    shuffled = torch.rand(len(sizes), n, generator=generator).argsort(1)
    return shuffled.argsort(1) < sizes[:, None]


def over_words(sets: Sequence[Tensor], valid: Tensor) -> Tensor:
    """Keep-masks (B, S, W) of sets (S_b, n_b) bool over the n_b valid words of each pair.

    valid (B, W) bool. Pairs with fewer sets are filled up with the empty set.
    """
    b, width = valid.shape
    keep = torch.zeros(b, max(len(kept) for kept in sets), width, dtype=torch.bool)
    for row, kept in enumerate(sets):
        words = valid[row].nonzero().squeeze(1).cpu()
        keep[row, : len(kept), words] = kept
    return keep.to(valid.device)
