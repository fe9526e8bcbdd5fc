"""What groups and sets of words are proved to do, by the model's answers to all subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gmask_pl.responses import Responses
from gmask_pl.types import Groups


@dataclass(frozen=True, slots=True)
class WordSet:
    """A smallest set of words that does something to the decision.

    - words: their positions in the joint order. value: the number that is asked for, with it alone
      or without it. others: how many more sets of as many words do the same.

    >>> from gmask_pl import PairExplainer
    >>> explain = PairExplainer(lambda p: [[0.1, 0.9] if "dog" in a else [0.9, 0.1] for a, _ in p])
    >>> found = explain("the dog", "a cat")
    >>> found.certificates.contrastive.words, found.certificates.contrastive.others
    ((1,), 0)
    """

    words: tuple[int, ...]
    value: float
    others: int


@dataclass(frozen=True, slots=True)
class GroupCertificate:
    """What a group of words does, beside what its words do one by one.

    The number that is asked for is v. N are all words, G those of the group, G1 and G2 its words of
    the first and of the second text. What the model was not asked is None.

    - words: positions of G in the joint order.
    - kept: v(G). kept_by_words: v() + the sum over G of v(w) - v(), what v(G) would be if words
      only added up.
    - removed: v(N - G). removed_by_words: v(N) - the sum over G of v(N) - v(N - w).
    - kept_across: v(G) - v(G1) - v(G2) + v(), the interaction across the texts when nothing else is
      kept. removed_across: v(N) - v(N - G1) - v(N - G2) + v(N - G), the same among all words. Above
      0 the two parts do more together, below 0 one can stand in for the other. None of a group with
      words of one text.

    >>> from gmask_pl import PairExplainer
    >>> explain = PairExplainer(lambda p: [float("dog" in a and "cat" in b) for a, b in p])
    >>> found = explain("the dog", "a cat").certificates.groups[0]
    >>> found.words, found.kept, found.kept_by_words, found.kept_across
    ((1, 3), 1.0, 0.0, 1.0)
    """

    words: tuple[int, ...]
    kept: float | None
    kept_by_words: float | None
    kept_across: float | None
    removed: float | None
    removed_by_words: float | None
    removed_across: float | None


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the model's answers to all subsets of some words prove, for one pair.

    - words: positions of the words whose subsets were all asked about: the candidates. empty: the
      number that is asked for, without any word; None where that was not asked.
    - groups: of each group, in the order of ``Explanation.word_groups``.
    - sufficient: a smallest set of them that, kept alone, leads to the decision of the whole pair.
      It has no words where the empty pair leads there. None where no set does, or where
      ``kept_asked`` is False.
    - contrastive: a smallest set of them without which the decision is another. None where there is
      no such set, or where ``removed_asked`` is False.
    - kept_asked, removed_asked: whether the model was asked about every subset alone, and about the
      text without every subset.

    Of several sets the first is the one with the highest number alone, or the lowest without it,
    then the earliest. They are exact, but only among ``words``: a smaller set with other words may
    exist. Sufficient sets are also known as minimal sufficient subsets (Carter et al., 2019),
    contrastive ones as counterfactuals by removal.

    >>> from gmask_pl import PairExplainer
    >>> def contradicts(pairs):
    ...     return [[0, 1] if "guitar" in a and "banjo" in b else [1, 0] for a, b in pairs]
    >>> explain = PairExplainer(contradicts, labels=["no", "yes"])
    >>> found = explain("the guitar", "a banjo").certificates
    >>> found.sufficient
    WordSet(words=(1, 3), value=1.0, others=0)
    >>> found.contrastive.words, found.contrastive.others
    ((1,), 1)
    """

    words: tuple[int, ...]
    empty: float | None
    groups: tuple[GroupCertificate, ...]
    sufficient: WordSet | None
    contrastive: WordSet | None
    kept_asked: bool
    removed_asked: bool


def certified(
    responses: Responses, groups: Groups, *, read: Sequence[int], first: int
) -> Certificates | None:
    """The certificates of the candidates of ``groups``; None where neither table was asked.

    - read: the positions of all words that the model reads.
    - first: how many words the first text has.

    Nothing is asked of the model.
    """
    words = tuple(sorted(groups.candidates))
    alone = responses.table(words)
    left = responses.table(words, others=set(read) - set(words))
    if alone is None and left is None:
        return None
    without = None if left is None else left[::-1]  # row S: the text without S
    members = [tuple(sorted(own)) for own in groups.members.values()]
    return Certificates(
        words=words,
        empty=responses.value(()),
        groups=tuple(
            GroupCertificate(
                own,
                *_effects(_values(responses, alone), words, own, first),
                *_effects(_values(responses, without), words, own, first),
            )
            for own in members
        ),
        sufficient=_smallest(responses, words, alone, same=True),
        contrastive=_smallest(responses, words, without, same=False),
        kept_asked=alone is not None,
        removed_asked=without is not None,
    )


def _values(responses: Responses, rows: np.ndarray | None) -> np.ndarray | None:
    return None if rows is None else responses.values[rows].astype(np.float64)


def _effects(
    table: np.ndarray | None, words: tuple[int, ...], group: tuple[int, ...], first: int
) -> tuple[float | None, float | None, float | None]:
    """Of a table (2^k,): at the group, by its words one by one, and across the texts.

    The table is of words kept or of words removed: both start where nothing is done, so that the
    same sums say what a GroupCertificate says of each.
    """
    if table is None:
        return None, None, None
    bit = {word: 2 ** (len(words) - 1 - i) for i, word in enumerate(words)}
    own = float(table[sum(bit[word] for word in group)])
    one_by_one = table[0] + sum(table[bit[word]] - table[0] for word in group)
    sides = [[w for w in group if w < first], [w for w in group if w >= first]]
    if not all(sides):
        return own, float(one_by_one), None
    parts = [table[sum(bit[word] for word in side)] for side in sides]
    return own, float(one_by_one), float(own - parts[0] - parts[1] + table[0])


def _smallest(
    responses: Responses, words: tuple[int, ...], rows: np.ndarray | None, *, same: bool
) -> WordSet | None:
    """The smallest subset at whose row the decision is the ``same``, or is not."""
    if rows is None:
        return None
    found = (responses.same[rows] == same).nonzero()[0]
    if not len(found):
        return None
    sizes = np.array([int(subset).bit_count() for subset in found])
    smallest = found[sizes == sizes.min()]
    values = responses.values[rows[smallest]]
    # Of equal ones the earliest: a subset of earlier words has a higher index.
    best = max(range(len(smallest)), key=lambda i: (values[i] if same else -values[i], smallest[i]))
    chosen = int(smallest[best])
    k = len(words)
    return WordSet(
        tuple(word for i, word in enumerate(words) if chosen >> (k - 1 - i) & 1),
        float(values[best]),
        len(smallest) - 1,
    )
