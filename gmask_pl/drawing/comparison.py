"""Several explanations of the same pairs side by side, with the words that they dispute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from gmask_pl.drawing.cards import TOP_WORDS, Card, Word, make_card
from gmask_pl.explanation import Explanation, counted
from gmask_pl.responses import Responses


@dataclass(frozen=True, slots=True)
class Told:
    """What one run says of a pair: its name, its card, and what its words are disputed by."""

    name: str
    card: Card
    disputed: frozenset[int]


@dataclass(frozen=True, slots=True)
class Compared:
    """A pair: a card without colours that answers, and what every run says.

    agreement: the mean Jaccard index of the words that two runs rank highest, from 0 to 1.
    """

    card: Card
    told: tuple[Told, ...]
    agreement: float


def compared(
    runs: Mapping[str, Sequence[Explanation]], labels: Sequence[str], *, max_pairs: int
) -> list[Compared]:
    """The first pairs that all runs have explained, by the names of the runs.

    Pairs are the same where their ids and words are. The card answers from what any of the runs
    has asked the model by the removal of the first.
    """
    by_id = [{e.id: e for e in found} for found in runs.values()]
    pairs = []
    for id in by_id[0]:
        own = [found[id] for found in by_id if id in found]
        if len(own) < len(runs) or len({(e.words1, e.words2) for e in own}) > 1:
            continue
        pairs.append(_pair(list(runs), own, labels))
        if len(pairs) == max_pairs:
            break
    return pairs


def _pair(names: list[str], own: list[Explanation], labels: Sequence[str]) -> Compared:
    first = own[0]
    tops = [_top(e) for e in own]
    disputed = frozenset().union(*tops) - tops[0].intersection(*tops)
    plain = replace(
        first,
        scores=(0.0,) * len(first.words),
        groups=None,
        interactions=None,
        certificates=None,
        responses=_together([e for e in own if e.removal == first.removal]),
        warnings=(),
    )
    told = tuple(
        Told(name, make_card(e, labels), disputed) for name, e in zip(names, own, strict=True)
    )
    both = [_jaccard(one, other) for one, other in combinations(tops, 2)]
    agreement = sum(both) / len(both) if both else 1.0
    return Compared(make_card(plain, labels, answers=True), told, agreement)


def is_disputed(word: Word, told: Told) -> bool:
    """Whether some runs rank a word of a text among the highest, and others do not."""
    return word.position in told.disputed


def _top(e: Explanation) -> frozenset[int]:
    scores = counted(e.scores)
    return frozenset(word for word in e.ranked()[:TOP_WORDS] if scores[word] > 0)


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0


def _together(own: Sequence[Explanation]) -> Responses | None:
    """What the model said to any of them; of equal masks the first answer."""
    said = [e.responses for e in own if e.responses is not None]
    if not said:
        return None
    masks = np.concatenate([one.masks for one in said])
    _, rows = np.unique(masks, axis=0, return_index=True)
    values, same, probabilities = (
        np.concatenate([getattr(one, name) for one in said])[rows]
        for name in ("values", "same", "probabilities")
    )
    return Responses(said[0].words, masks[rows], values, same, probabilities)
