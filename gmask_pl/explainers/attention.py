"""Attention as explanation, which Jain and Wallace (2019) call into question."""

from __future__ import annotations

from gmask_pl.explainers.explainer import Explainer
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import checked
from gmask_pl.types import Attributions


class Attention(Explainer):
    """The attention that a word's tokens receive, summed over them, in one ``layer``.

    - removal: has no effect, since this method removes nothing.
    - layer: from 0, or from -1, the last.

    Which tokens attend depends on the model: in transformers the first token, from which they
    classify, averaged over heads; in decomposable attention the words of the other side, averaged.
    Scores are not negative: they do not say which class a word speaks for.

    Cost of a pair: one evaluation for the prediction, and one for the attention; no gradients.
    Raises UserError for a model that does not provide its attention.

    >>> from gmask_pl import Attention, PairExplainer, TinyBert
    >>> model = TinyBert.from_data(  # or any network: PairExplainer(network, tokenizer)
    ...     labels=["no", "yes"], word_counts={"two": 9, "dogs": 9, "run": 9, "sleep": 9}
    ... )
    >>> explain = PairExplainer(model, method=Attention(layer=0))
    >>> found = explain("two dogs run", "dogs sleep")
    >>> found.evaluations, all(score >= 0 for score in found.scores)
    (2, True)
    """

    score_meaning = "attention received; never negative, so it does not say for which class"

    reads_attention = True

    @checked
    def __init__(self, *, removal: RemovalName | None = None, layer: int = -1) -> None:
        super().__init__(removal=removal)
        self.layer = layer

    def __call__(self, masked: MaskedModel) -> Attributions:
        return Attributions(masked.attention(self.layer), (None,) * len(masked.batch))
