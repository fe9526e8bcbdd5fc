"""Random word scores: the floor that every explainer must clear."""

from __future__ import annotations

import torch

from gmask_pl.explainers.explainer import Explainer, example_generators
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import Seed, checked
from gmask_pl.types import Attributions


class Random(Explainer):
    """Scores drawn uniformly from (0, 1), a draw of its own for every pair.

    - removal: has no effect, since this method removes nothing.
    - seed: decides the draw, together with the two texts.

    Cost of a pair: one evaluation, for the prediction.

    >>> from gmask_pl import PairExplainer, Random
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(model, method=Random(seed=3), labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> found.scores == explain("do not go", "he never goes").scores, found.evaluations
    (True, 1)
    """

    score_meaning = "drawn at random from 0 to 1: they say nothing"

    @checked
    def __init__(self, *, removal: RemovalName | None = None, seed: Seed = 0) -> None:
        super().__init__(removal=removal)
        self.seed = seed

    def __call__(self, masked: MaskedModel) -> Attributions:
        valid = masked.batch.word_valid
        scores = torch.zeros(valid.shape)
        places = masked.batch.places
        for row, generator in enumerate(example_generators(self.seed, masked.batch.keys)):
            n = len(places[row])
            scores[row, :n] = torch.rand(n, generator=generator)
        return Attributions(scores.to(valid.device) * valid, (None,) * len(masked.batch))
