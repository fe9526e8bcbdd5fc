"""LIME on masks and their complements: a linear surrogate that sees both sides."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from gmask_pl.explainers.explainer import Explainer, example_generators
from gmask_pl.explainers.lime import over_words, perturbations, proximity, ridge
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import Positive, Seed, at_least, checked
from gmask_pl.types import Attributions


class PairedRidge(Explainer):
    """The coefficients of a ridge regression of the prediction's probability on paired masks.

    It is LIME (see `lime`) but for two choices. Every mask is followed by its complement (paired
    sampling: Covert and Lee, 2021), so fragments of every size are asked about as often as texts
    that lack as much. And a pair of n words has samples_per_word * n rows, as its regression has
    n unknowns. With a wider kernel than LIME's, words that suffice count beside words that are
    missed. kernel_width and alpha are LIME's. A positive score supports the prediction.

    Cost of a pair: one evaluation for the prediction and one for each distinct row, so at most
    samples_per_word * n + 1; no gradients. Defaults were chosen on dev pairs.
    """

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        samples_per_word: Annotated[int, at_least(3, "the pair, a mask and its complement")] = 12,
        kernel_width: Positive = 50.0,  # LIME's 25 sees less of fragments
        alpha: Positive = 1.0,
        seed: Seed = 0,
    ) -> None:
        super().__init__(removal=removal)
        self.samples_per_word, self.seed = samples_per_word, seed
        self.kernel_width, self.alpha = kernel_width, alpha

    def __call__(self, masked: MaskedModel) -> Attributions:
        valid = masked.batch.word_valid
        generators = example_generators(self.seed, masked.batch.keys)
        words = valid.sum(1).tolist()
        rows = [self.samples_per_word * max(n, 1) for n in words]
        sets = [paired_perturbations(*of) for of in zip(words, rows, generators, strict=True)]
        keep = over_words(sets, valid)
        # A shorter pair has fewer rows: it is filled up with the first, which weighs nothing then.
        asked = (torch.arange(keep.shape[1]) < torch.tensor(rows)[:, None]).to(valid.device)
        keep = torch.where(asked[..., None], keep, valid[:, None])
        weights = proximity(keep, valid, self.kernel_width) * asked
        probability = (-masked.cross_entropy(keep)).exp().double()
        scores = ridge(keep.double(), probability, weights, self.alpha)
        return Attributions(scores * valid, (None,) * len(masked.batch))


def paired_perturbations(n: int, samples: int, generator: torch.Generator) -> Tensor:
    """The rows of one pair, (samples, n) bool, true where a word is kept.

    Row 0 is the whole pair, rows 2i + 1 and 2i + 2 are a mask and its complement.
    """
    rows = perturbations(n, samples // 2 + 1, generator)
    paired = torch.stack([rows[1:], ~rows[1:]], 1).flatten(0, 1)
    return torch.cat([rows[:1], paired])[:samples]
