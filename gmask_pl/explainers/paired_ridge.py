"""LIME on masks and their complements: a linear surrogate of both."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from gmask_pl.explainers.explainer import IN_VALUE, Explainer, example_generators, small_enough
from gmask_pl.explainers.lime import over_words, perturbations, proximity, ridge
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import Positive, Seed, at_least, checked
from gmask_pl.types import Attributions


class PairedRidge(Explainer):
    """Scores words by a ridge regression of the question's number on paired masks.

    - removal: how words are removed; None: as the model usually does.
    - samples_per_word: a pair of n words has samples_per_word * n rows, as its regression has n
      unknowns.
    - kernel_width, alpha: as LIME's.
    - seed: of the random masks.

    It differs from LIME (see `lime`) in three choices. After every mask comes its complement
    (paired sampling: Covert and Lee, 2021), so a fragment is as frequent as the text without it.
    The number of rows grows with the length of the pair. And the kernel is wider, so words that
    suffice count beside words that are missed. A positive score supports the prediction.

    Cost of a pair: one evaluation for the prediction and one for each distinct row, so at most
    samples_per_word * n + 1; no gradients. Defaults were chosen on dev pairs.

    >>> from gmask_pl import PairExplainer, PairedRidge
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(model, method=PairedRidge(), labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> sorted(word for word, _ in found.top(2)), found.evaluations <= 12 * 6 + 1
    (['never', 'not'], True)
    """

    score_meaning = IN_VALUE

    most_samples: int | None = None  # of a pair whatever its length, where there is a budget

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

    def _ask_at_most(self, budget: int) -> None:
        small_enough("paired ridge", 4, budget)
        self.most_samples = min(self.most_samples or budget, budget - 1)

    def __call__(self, masked: MaskedModel) -> Attributions:
        valid = masked.batch.word_valid
        generators = example_generators(self.seed, masked.batch.keys)
        words = valid.sum(1).tolist()
        rows = [self.samples_per_word * max(n, 1) for n in words]
        rows = [min(count, self.most_samples or count) for count in rows]
        sets = [paired_perturbations(*of) for of in zip(words, rows, generators, strict=True)]
        keep = over_words(sets, valid)
        # A shorter pair has fewer rows: it is filled up with the first, which weighs nothing then.
        asked = (torch.arange(keep.shape[1]) < torch.tensor(rows)[:, None]).to(valid.device)
        keep = torch.where(asked[..., None], keep, valid[:, None])
        weights = proximity(keep, valid, self.kernel_width) * asked
        values = masked.values(keep).double()
        scores = ridge(keep.double(), values, weights, self.alpha)
        return Attributions(scores * valid, (None,) * len(masked.batch))


def paired_perturbations(n: int, samples: int, generator: torch.Generator) -> Tensor:
    """The rows of one pair, (samples, n) bool, true where a word is kept.

    Row 0 is the whole pair, rows 2i + 1 and 2i + 2 are a mask and its complement.
    """
    rows = perturbations(n, samples // 2 + 1, generator)
    paired = torch.stack([rows[1:], ~rows[1:]], 1).flatten(0, 1)
    return torch.cat([rows[:1], paired])[:samples]
