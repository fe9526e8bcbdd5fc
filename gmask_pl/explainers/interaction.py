"""Exact pairwise interactions across the two sides (Grabisch and Roubens, 1999)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Annotated

from torch import Tensor

from gmask_pl.explainers._coalition import (
    BOTH,
    CONTEXTS,
    DROP,
    VALUES,
    CandidateExplainer,
    TableSize,
    value_table,
)
from gmask_pl.explainers.explainer import IN_LOG, IN_VALUE, Explainer
from gmask_pl.explainers.shapley import coalition_weights
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import OneOf, checked
from gmask_pl.types import Attributions, Interactions

# What of a word's interactions its score adds up.
PARTS: dict[str, Callable[[Tensor], Tensor]] = {
    "positive": lambda index: index.clamp_min(0),
    "absolute": lambda index: index.abs(),
    "signed": lambda index: index,
}


class Interaction(CandidateExplainer):
    """A word's score is what it does for the prediction together with words of the other side.

    - removal: how words are removed; None: as the model usually does.
    - word_filter: the explainer whose k best words take part; None: IMASK.
    - k: words that take part.
    - context: whether the other words are dropped or kept meanwhile, or both, which takes the mean.
    - value: the probability of the predicted class or its logarithm.
    - part: which of a word's interactions with the other side its score adds up, see below.

    It does not sample: it needs 2^k model evaluations per pair, besides those of the filter.

    - ``positive``: what they do together. Pairs in which each word makes the other superfluous
      count as nothing;
    - ``absolute``: these count as much, since both words matter then as well;
    - ``signed``: the two cancel out, so a deciding word that has both a partner and a substitute
      can score nothing. Half of it is what the word's Shapley value owes to such pairs (Bordt
      and von Luxburg, 2023, "From Shapley Values to Generalized Additive Models and back").

    >>> from gmask_pl import Interaction, Occlusion, PairExplainer
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> method = Interaction(k=3, word_filter=Occlusion())
    >>> explain = PairExplainer(model, method=method, labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> one, two = found.interactions.pairs[0]  # the strongest
    >>> found.words[one], found.words[two], round(found.interactions.values[0], 3)
    ('not', 'never', 0.8)
    """

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        word_filter: Explainer | None = None,
        k: TableSize = 10,
        context: Annotated[str, OneOf((*CONTEXTS, BOTH))] = DROP,
        value: Annotated[str, OneOf(VALUES)] = "probability",
        part: Annotated[str, OneOf(PARTS)] = "positive",
    ) -> None:
        super().__init__(removal=removal, word_filter=word_filter, k=k)
        self.context, self.value, self.part = context, value, PARTS[part]

    @property
    def tables(self) -> int:
        return 2 if self.context == BOTH else 1

    @property
    def score_meaning(self) -> str:  # type: ignore[override]
        return IN_VALUE if self.value == "probability" else IN_LOG

    def attribute(self, masked: MaskedModel, candidates: Tensor) -> Attributions:
        side = masked.batch.word_side
        table = value_table(masked, candidates, context=self.context, value=self.value)
        index = interaction_index(table) * across(candidates, side)
        pairs = read_pairs(index, candidates, side)
        return Attributions(self.part(index).sum(2), (None,) * len(table), pairs)


def across(candidates: Tensor, word_side: Tensor) -> Tensor:
    """Which pairs of candidates stand on different sides: (B, k, k) bool."""
    side = word_side.gather(1, candidates.clamp_min(0))
    used = candidates >= 0
    return (side[:, :, None] != side[:, None]) & used[:, :, None] & used[:, None]


def read_pairs(index: Tensor, candidates: Tensor, word_side: Tensor) -> tuple[Interactions, ...]:
    """The interaction (B, k, k) of every pair of candidates across the sides."""
    found = []
    values, words, sides = index.tolist(), candidates.tolist(), word_side.tolist()
    for row, chosen in enumerate(across(candidates, word_side).cpu()):
        pairs = []
        for i, j in chosen.nonzero().tolist():
            one, two = words[row][i], words[row][j]
            if sides[row][one] < sides[row][two]:
                pairs.append((values[row][i][j], (one, two)))
        pairs.sort(key=lambda pair: (-pair[0], pair[1]))
        places = tuple(place for _, place in pairs)
        found.append(Interactions(places, tuple(value for value, _ in pairs)))
    return tuple(found)


def interaction_index(table: Tensor) -> Tensor:
    """Shapley interaction indices (B, k, k) of a coalition table (B, 2^k), 0 on the diagonal.

    I_ij = sum over S without i, j of |S|! (k - |S| - 2)! / (k - 1)! *
    (v(S + i + j) - v(S + i) - v(S + j) + v(S)). Positive: the two do more together than apart;
    negative: each makes the other superfluous. A slot without a word has none and changes none.
    """
    b, size = table.shape
    k = size.bit_length() - 1
    found = table.new_zeros(b, k, k)
    if k < 2:
        return found
    weights = coalition_weights(k - 2, table) / (k - 1)
    for i, j in itertools.combinations(range(k), 2):
        split = table.view(b, 2**i, 2, 2 ** (j - i - 1), 2, -1)
        joint = (split[:, :, 1] - split[:, :, 0]).diff(dim=3).reshape(b, -1)
        found[:, i, j] = found[:, j, i] = (joint * weights).sum(1)
    return found
