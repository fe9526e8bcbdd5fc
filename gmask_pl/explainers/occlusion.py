"""Occlusion: leave one word out (Zeiler and Fergus, 2014; Li et al., 2016)."""

from __future__ import annotations

import torch

from gmask_pl.explainers.base import Explainer
from gmask_pl.masking import MaskedModel
from gmask_pl.types import Attributions


class Occlusion(Explainer):
    """A word's score is p(y|x) - p(y|x without it), y being the prediction on the whole pair x.

    Cost of a pair of n words: n evaluations and one for the prediction; no gradients.
    """

    needs_gradients = False

    def __call__(self, masked: MaskedModel) -> Attributions:
        valid = masked.batch.word_valid
        b, width = valid.shape
        words = torch.arange(width, device=valid.device)
        # Padding repeats the pair's first question, so that it costs nothing.
        left_out = torch.where(valid, words, valid.long().argmax(1, keepdim=True))
        keep = words != left_out[..., None]
        whole = masked.probabilities.gather(1, masked.prediction[:, None])
        without = (-masked.cross_entropy(keep)).exp()
        return Attributions((whole - without).masked_fill(~valid, 0.0), (None,) * b)
