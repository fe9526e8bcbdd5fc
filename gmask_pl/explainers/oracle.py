"""The word orders with the highest and the lowest AOPC that a pair allows: bounds."""

from __future__ import annotations

from typing import Annotated

import torch

from gmask_pl.explainers.explainer import Explainer
from gmask_pl.masking.masked_model import REMOVALS, MaskedModel
from gmask_pl.masking.removal_orders import GOALS, extreme_orders
from gmask_pl.settings import Count, OneOf, Whole, checked
from gmask_pl.types import Attributions


class Oracle(Explainer):
    """Ranks words by the order whose removal has the most extreme AOPC (Eq. 9).

    It does not compete: it looks for the metric's own optimum, under the metric's own removal.

    - removal: the metric's; None: as the model usually does.
    - goal: ``highest`` or ``lowest``.
    - max_removed: U of Eq. 9.
    - exact_words: the search is exact for pairs of at most this many words, in up to 2^n
      evaluations.
    - beam: longer pairs get a beam search with this many sets of removed words. It finds an
      attainable value, which another order may exceed.

    The first word removed scores n, the last 1. Words beyond the U that the search removes follow
    in the order of the text. A pair of fewer than U words evaluates its empty text again in each
    unneeded step.

    >>> from gmask_pl import Oracle, PairExplainer
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(model, method=Oracle(), labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> found.top(1)  # of six words
    [('not', 6.0)]
    """

    score_meaning = "rank: the word that is removed first has the highest"

    @checked
    def __init__(
        self,
        *,
        removal: Annotated[str, OneOf(REMOVALS, "the oracle bounds AOPC under one removal")]
        | None = None,
        goal: Annotated[str, OneOf(GOALS)] = "highest",
        max_removed: Count = 10,  # U of Eq. 9 (Section 5.1.1)
        beam: Count = 5,  # Edin et al. (2025)
        exact_words: Whole = 12,  # 2^12 model evaluations a pair
    ) -> None:
        super().__init__(removal=removal)
        self.goal, self.max_removed = GOALS[goal], max_removed
        self.beam, self.exact_words = beam, exact_words

    def _ask_at_most(self, budget: int) -> None:
        """Whole searches of as many words as it allows; beams ask about fewer sets."""
        self.exact_words = min(self.exact_words, budget.bit_length() - 2)

    def __call__(self, masked: MaskedModel) -> Attributions:
        valid = masked.batch.word_valid
        found = extreme_orders(
            masked.values,
            valid,
            masked.whole,
            [self.goal],
            max_removed=self.max_removed,
            beam=self.beam,
            exact_words=self.exact_words,
        )
        scores = torch.zeros(valid.shape)
        for row, (extreme,) in enumerate(found):
            text = valid[row].nonzero().flatten().tolist()
            order = [*extreme.order, *(word for word in text if word not in extreme.order)]
            scores[row, order] = torch.arange(len(order), 0, -1, dtype=scores.dtype)
        return Attributions(scores.to(valid.device), (None,) * len(found))
