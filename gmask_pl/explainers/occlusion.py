"""Occlusion: one word at a time (Zeiler and Fergus, 2014; Li et al., 2016)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from gmask_pl.explainers._coalition import BOTH, CONTEXTS, DROP, KEEP
from gmask_pl.explainers.explainer import IN_VALUE, Explainer
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import Count, OneOf, checked
from gmask_pl.types import Attributions


class Occlusion(Explainer):
    """What a single word does to p(y|.), y being the prediction on the whole pair x.

    - removal: how words are removed; None: as the model usually does.
    - context: ``keep`` leaves the word out, p(y|x) - p(y|x without it); ``drop`` keeps it alone,
      p(y|it) - p(y|nothing); ``both`` is the mean of the two, which are also the first and the last
      terms of Shapley values.
    - rounds, per_round: the model does not miss a word that another one can replace. So after each
      round except the last, the ``per_round`` best words are taken out for good, and the remaining
      words are scored again. A word's score is that of the last round that scored it.

    Cost of a pair of n words: one evaluation for the prediction, one for each remaining word in
    each context and round, and one for each reference other than the whole pair; no gradients.

    >>> from gmask_pl import Occlusion, PairExplainer
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(model, method=Occlusion(), labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> [(word, round(score, 3)) for word, score in found.top(2)], found.evaluations
    ([('not', 0.8), ('never', 0.8)], 7)
    """

    score_meaning = IN_VALUE

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        context: Annotated[str, OneOf((*CONTEXTS, BOTH))] = KEEP,
        rounds: Count = 1,
        per_round: Count = 5,
    ) -> None:
        super().__init__(removal=removal)
        self.contexts = CONTEXTS if context == BOTH else (context,)
        self.rounds, self.per_round = rounds, per_round

    def __call__(self, masked: MaskedModel) -> Attributions:
        left = masked.batch.word_valid.clone()
        scores = torch.zeros(left.shape, device=left.device)
        for step in range(self.rounds):
            effects = [self._effects(masked, left, context) for context in self.contexts]
            found = torch.stack(effects).mean(0)
            scores = torch.where(left, found, scores)
            if step < self.rounds - 1:
                best = found.masked_fill(~left, -torch.inf).argsort(
                    dim=1, descending=True, stable=True
                )
                left = left.scatter(1, best[:, : self.per_round], False)
        return Attributions(scores, (None,) * len(left))

    def _effects(self, masked: MaskedModel, left: Tensor, context: str) -> Tensor:
        """The effect of every word that is left, (B, W); 0 elsewhere."""
        valid = masked.batch.word_valid
        words = torch.arange(valid.shape[1], device=valid.device)
        # What is no word of the pair repeats the pair's first question, so it costs nothing.
        word = torch.where(left, words, left.long().argmax(1, keepdim=True))
        is_word = words == word[..., None]
        base = {KEEP: left, DROP: valid & ~left}[context][:, None]
        asked = base & ~is_word if context == KEEP else base | is_word
        # The whole pair has been asked about.
        if context == KEEP and bool((left == valid).all()):
            p, before = masked.values(asked), masked.whole[:, None]
        else:
            p = masked.values(torch.cat([asked, base], 1))
            p, before = p[:, :-1], p[:, -1:]
        gain = before - p if context == KEEP else p - before
        return gain.masked_fill(~left, 0.0)
