"""Gradient times input (Shrikumar et al., 2016; Denil et al., 2014)."""

from __future__ import annotations

from gmask_pl.explainers.explainer import IN_LOG, Explainer
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import checked
from gmask_pl.types import Attributions


class GradientXInput(Explainer):
    """The derivative of log p(y|x) in a word's mask, at the whole pair.

    - removal: ``zero``, ``mask`` or ``pad``, one that the model can differentiate.

    Under the removal ``zero`` a mask g multiplies the word embeddings e of the word's tokens, so
    this is their sum of e . d log p / d e: gradient times input. Under ``mask`` it is the same
    for e less the mask token's embedding, under ``pad`` for the attention paid to the word.
    A positive score supports the prediction.

    If a layer norm follows the embeddings, as in BERT, scaling them changes little. log p is then
    almost flat at g = 1 and falls further on, so a word's score says little about its removal.

    Cost of a pair: one evaluation for the prediction, and one with its gradient.

    >>> from gmask_pl import GradientXInput, PairExplainer, TinyBert
    >>> model = TinyBert.from_data(  # or any network: PairExplainer(network, tokenizer)
    ...     labels=["no", "yes"], word_counts={"two": 9, "dogs": 9, "run": 9, "sleep": 9}
    ... )
    >>> explain = PairExplainer(model, method=GradientXInput())
    >>> found = explain("two dogs run", "dogs sleep")
    >>> len(found.scores), found.gradients
    (5, 1)
    """

    score_meaning = IN_LOG

    differentiates_masks = True

    @checked
    def __init__(self, *, removal: RemovalName | None = "zero") -> None:
        super().__init__(removal=removal)

    def __call__(self, masked: MaskedModel) -> Attributions:
        _, gradient = masked.loss_gradient(masked.batch.word_valid[:, None])
        return Attributions(-gradient[:, 0], (None,) * len(masked.batch))
