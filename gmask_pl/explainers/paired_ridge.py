"""A linear surrogate on masks and their complements: which words suffice or are missed."""

from __future__ import annotations

import torch
from torch import Tensor

from gmask_pl.explainers.base import Explainer, example_generators
from gmask_pl.explainers.lime import perturbations, ridge
from gmask_pl.explainers.sampling import over_words
from gmask_pl.masking import MaskedModel
from gmask_pl.types import Attributions, UserError


class PairedRidge(Explainer):
    """The coefficients of a ridge regression of the prediction's probability on paired masks.

    Of the ``samples`` rows the first is the whole pair. Every other one is a mask as LIME draws
    it, the number of removed words being uniform, or the complement of the mask before it (paired
    sampling: Covert and Lee, 2021). All rows weigh alike. So a word counts by what it does alone
    or among few as much as by what is missed without it; LIME, whose rows weigh less the more
    they remove, and whose draws are not balanced, sees the second for the most part. alpha is the
    ridge penalty; the intercept goes free. A positive score supports the prediction.

    Cost of a pair: one evaluation for the prediction and one for each distinct row, so at most
    samples + 1; no gradients.
    """

    needs_gradients = False

    def __init__(self, *, removal: str, samples: int, alpha: float, seed: int) -> None:
        super().__init__(removal=removal)
        if samples < 3:
            raise UserError(f"samples={samples}: the whole pair, a mask and its complement are 3")
        if alpha <= 0:
            raise UserError(f"alpha={alpha}: it must be greater than 0")
        self.samples, self.alpha, self.seed = samples, alpha, seed

    def __call__(self, masked: MaskedModel) -> Attributions:
        valid = masked.batch.word_valid
        generators = example_generators(self.seed, masked.batch.ids)
        sets = [
            paired_perturbations(n, self.samples, generator)
            for n, generator in zip(valid.sum(1).tolist(), generators, strict=True)
        ]
        keep = over_words(sets, valid)
        probability = (-masked.cross_entropy(keep)).exp().double()
        scores = ridge(keep.double(), probability, torch.ones_like(probability), self.alpha)
        return Attributions(scores * valid, (None,) * len(masked.batch))


def paired_perturbations(n: int, samples: int, generator: torch.Generator) -> Tensor:
    """The rows of one pair, (samples, n) bool, true where a word is kept.

    Row 0 is the whole pair, rows 2i + 1 and 2i + 2 are a mask and its complement.
    """
    rows = perturbations(n, samples // 2 + 1, generator)
    paired = torch.stack([rows[1:], ~rows[1:]], 1).flatten(0, 1)
    return torch.cat([rows[:1], paired])[:samples]
