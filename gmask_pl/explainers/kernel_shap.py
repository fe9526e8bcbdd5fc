"""Kernel SHAP over the words of a pair (Lundberg and Lee, 2017)."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Annotated

import torch
from torch import Tensor

from gmask_pl.explainers._coalition import VALUES, worth_of
from gmask_pl.explainers.explainer import (
    IN_LOG,
    IN_VALUE,
    Explainer,
    example_generators,
    small_enough,
)
from gmask_pl.explainers.lime import over_words, random_subsets
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import OneOf, Seed, at_least, checked
from gmask_pl.types import Attributions


class KernelShap(Explainer):
    """Shapley values of the words, by regression on coalitions of them.

    - removal: how words are removed; None: as the model usually does.
    - samples: the number of coalitions, besides the whole and the empty pair.
    - value: a coalition's worth, the ``probability`` or ``log_probability`` of the prediction when
      only its words are kept.
    - seed: of the random coalitions.

    Scores add up to the worth of the whole pair minus that of the empty pair. They are exact if
    ``samples`` covers all 2^n - 2 other coalitions of a pair's n words, and converge to exact ones
    as it grows; see `coalitions`.

    Cost of a pair: one evaluation for the prediction, one for the empty coalition, and one for
    each distinct other coalition, so at most samples + 2; no gradients.

    >>> from gmask_pl import KernelShap, PairExplainer
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(model, method=KernelShap(), labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> [(word, round(score, 3)) for word, score in found.top(2)], found.evaluations
    ([('not', 0.4), ('never', 0.4)], 64)
    """

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        samples: Annotated[int, at_least(2, "coalitions come in pairs")] = 2048,  # shap: 2048 + 2n
        value: Annotated[str, OneOf(VALUES)] = "probability",  # what AOPC measures
        seed: Seed = 0,
    ) -> None:
        super().__init__(removal=removal)
        self.samples, self.value, self.seed = samples, value, seed

    @property
    def score_meaning(self) -> str:  # type: ignore[override]
        return IN_VALUE if self.value == "probability" else IN_LOG

    def _ask_at_most(self, budget: int) -> None:
        small_enough("Kernel SHAP", 4, budget)
        self.samples = min(self.samples, budget - 2)

    def __call__(self, masked: MaskedModel) -> Attributions:
        valid = masked.batch.word_valid
        generators = example_generators(self.seed, masked.batch.keys)
        sets, kernel = [], torch.zeros(len(valid), self.samples + 1, dtype=torch.float64)
        for row, n in enumerate(valid.sum(1).tolist()):
            drawn, weights = coalitions(n, self.samples, generators[row])
            # First the empty coalition, whose weight here is 0: it is a constraint.
            sets.append(torch.cat([torch.zeros(1, n, dtype=torch.bool), drawn]))
            kernel[row, 1 : 1 + len(weights)] = weights
        keep = over_words(sets, valid)
        worth = worth_of(masked, masked.logits(keep), self.value)
        whole = worth_of(masked, masked.outputs[:, None], self.value)
        empty = worth[:, :1]
        kernel = kernel[:, : keep.shape[1]].to(valid.device)
        scores = efficient_regression(keep, worth - empty, kernel, (whole - empty)[:, 0], valid)
        return Attributions(scores, (None,) * len(masked.batch))


def coalitions(n: int, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """At most ``samples`` coalitions of n words, (S, n) bool, and their weights (S,) float64.

    The sizes s and n - s share the Shapley kernel's weight 1 / (s (n - s)). As in `shap`, all
    sets of the outermost sizes are taken while as many would be drawn anyway; the rest of the
    budget is spent on draws by the kernel, each with its complement, that share the weight left.
    Unlike `shap`, a set drawn twice is not replaced: it counts twice and is evaluated once.
    """
    sizes = torch.arange(1, max(n, 1), dtype=torch.float64)
    kernel = 1 / (sizes * (n - sizes))
    kernel /= kernel.sum()
    sets, weights = [torch.zeros(0, n, dtype=torch.bool)], [torch.zeros(0, dtype=torch.float64)]
    left, size = samples, 1
    while 2 * size <= n:
        both, count = sorted({size, n - size}), comb(n, size)
        inner = kernel[size - 1 : n - size]
        share = float(kernel[size - 1]) * len(both) / float(inner.sum())
        if left * share < len(both) * count * (1 - 1e-8):
            break
        for members in both:
            sets.append(all_subsets(n, members))
            weights.append((kernel[size - 1] / count).expand(count))
        left -= len(both) * count
        size += 1
    if 2 * size <= n and left >= 2:
        inner = kernel[size - 1 : n - size]
        drawn = size + torch.multinomial(inner, left // 2, replacement=True, generator=generator)
        half = random_subsets(n, drawn, generator)
        sets += [half, ~half]
        weights.append((inner.sum() / (2 * len(half))).expand(2 * len(half)))
    return torch.cat(sets), torch.cat(weights)


def all_subsets(n: int, size: int) -> Tensor:
    """Every set of ``size`` of n things, (C(n, size), n) bool."""
    members = torch.tensor(list(combinations(range(n), size)))
    return torch.zeros(len(members), n, dtype=torch.bool).scatter_(1, members, True)


def efficient_regression(
    keep: Tensor, gain: Tensor, kernel: Tensor, total: Tensor, valid: Tensor
) -> Tensor:
    """argmin_phi sum_s kernel_s (gain_s - keep_s phi)^2 with sum(phi) = total, for every example.

    keep (B, S, W) bool, gain and kernel (B, S), total (B,), valid (B, W) -> phi (B, W) float64,
    0 on words that are not valid. What too few coalitions leave open is shared equally: phi is
    total / n plus the smallest part of sum 0 that fits.
    """
    x, inside = keep.double(), valid.double()
    n = inside.sum(1).clamp_min(1)
    centre = torch.diag_embed(inside) - inside[:, :, None] * inside[:, None] / n[:, None, None]
    weighted = x * kernel[..., None]
    equal = inside * (total / n)[:, None]
    rest = gain - torch.einsum("bsw,bw->bs", x, equal)
    gram = centre @ torch.einsum("bsv,bsw->bvw", weighted, x) @ centre
    moment = torch.einsum("bvw,bsw,bs->bv", centre, weighted, rest)
    inverse: Tensor = torch.linalg.pinv(gram, rtol=1e-10, hermitian=True)
    return equal + (centre @ inverse @ moment[..., None])[..., 0]
