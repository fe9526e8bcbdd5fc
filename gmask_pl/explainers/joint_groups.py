"""Groups of words with joint effects: found exactly, from tables of the model's answers."""

from __future__ import annotations

from functools import cache
from typing import Annotated

import torch
from torch import Tensor

from gmask_pl.explainers._coalition import (
    DROP,
    CandidateExplainer,
    TableSize,
    all_coalitions,
    coalition_index,
    in_text_order,
)
from gmask_pl.explainers.explainer import BY_RANK, Explainer
from gmask_pl.explainers.gmask import ResponseTables
from gmask_pl.explainers.two_sided_search import TwoSidedSearch
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.masking.removal_orders import TIE
from gmask_pl.settings import NotNegative, Range, checked
from gmask_pl.types import SUBSTITUTES, TOGETHER, Attributions, Groups, PairBatch

FLAT = 1e-10  # the variance of answers that do not change: (1e-5)^2, the rounding of a model


class JointGroups(CandidateExplainer):
    """Groups of words that have joint effects, and word scores as `GMask.two_sided` reads them.

    - removal: how words are removed; None: as the model usually does.
    - word_filter: the explainer whose k best words are grouped; None: `TwoSidedSearch`.
    - k: words that are grouped.
    - price: what an effect must explain, as a share of the variance of the answers, to be there.
    - least: what a group must explain, as such a share, to be told.
    - order_weight: of what is missed, in the order of the words, see `two_sided_order`.

    The model answers all 2^k subsets of the candidates, alone and within the rest of the text. Over
    all subsets, the answers are an exact sum of effects f(T) of single words and joint effects of
    several words, whose shares of the variance add up (Hoeffding, 1948). A group G explains

        S(G) = sum over non-empty T within G of  f(T)^2 / variance,

    its closed Sobol' index (Sobol', 1993). Of all ways to cut the candidates into groups and words
    of no group, the explainer takes the one with the largest

        sum over groups G_1, ..., G_t of  S(G_i) - price * (2^|G_i| - 1),

    where 2^|G| - 1 counts the effects within a group. The maximum is exact, by dynamic programming
    over subsets. Words whose effects only add up explain no more in one group, and cost more. So a
    group of several words says that they do something together. Groups that explain less than
    ``least`` are left out, and their words are in no group. The index is over both tables, and psi
    is a group's share of what all groups explain.

    Each group has a kind. ``together``: its words do more than one by one, for the answer or
    against it, on average over all subsets of both tables. ``substitutes``: they do less, as one
    can stand in for another. Alone and in the text a group may do both: its certificate tells (see
    `GroupCertificate`).

    It also has a stability: the groups are found again with any other candidate always kept, and
    always removed. Stability is the mean overlap of the group with the group found then that is
    most like it: the words in both, as a share of the words in either (Hennig, 2007).

    What it owes to GMASK: candidate words of both sides (Section 3.3), groups across the sides,
    and memberships phi and importance psi (Section 3.1). phi is 0 or 1 here, a word may be in no
    group, and the number of groups follows from the answers. Nothing is learnt or drawn at random.

    Cost of a pair: 2^(k+1) evaluations beside those of the filter; no gradients.

    >>> from gmask_pl import JointGroups, PairExplainer
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(model, method=JointGroups(k=4), labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> [(group.words, group.kind) for group in found.word_groups]
    [(('not', 'never'), 'together')]
    """

    score_meaning = BY_RANK

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        word_filter: Explainer | None = None,
        k: TableSize = 8,
        price: Annotated[float, Range(0.0, 1.0)] = 0.01,  # chosen on dev pairs
        least: Annotated[float, Range(0.0, 1.0)] = 0.02,
        order_weight: NotNegative = 3.0,  # as `GMask`, chosen on dev pairs
    ) -> None:
        own = word_filter or TwoSidedSearch(removal=removal, order_weight=order_weight)
        super().__init__(removal=removal, word_filter=own, k=k)
        self.price, self.least, self.order_weight = price, least, order_weight

    @property
    def tables(self) -> int:
        return 2

    def candidates(self, filtered: Tensor, batch: PairBatch) -> Tensor:
        return in_text_order(super().candidates(filtered, batch), filtered.shape[1])

    def attribute(self, masked: MaskedModel, candidates: Tensor) -> Attributions:
        tables = ResponseTables(masked, candidates, DROP)
        theta = tables.two_sided_scores(self.order_weight)
        alone, without = (table.double() for table in tables.values)
        both, used = torch.stack([alone, without.flip(1)], 1), candidates >= 0
        explained, joint = closed_indices(both, used)
        subsets = [
            [group for group in own if explained[row, group] >= self.least]
            for row, own in enumerate(best_partition(explained, self.price))
        ]
        stable = self._stability(both, used, subsets)
        groups = []
        for row, own in enumerate(subsets):
            suffices = tables.decided[row, own] & ~tables.decided[row, 0]
            missed = ~tables.still_decided[row, own]
            gain = alone[row, own] - alone[row, 0] + without[row, 0] - without[row, own]
            groups.append(
                _read(
                    [word for word in candidates[row].tolist() if word >= 0],
                    all_coalitions(used.shape[1])[own],
                    explained[row, own].tolist(),
                    kept=tuple(alone[row, own].tolist()),
                    removed=tuple(without[row, own].tolist()),
                    suffices=tuple(suffices.tolist()),
                    missed=tuple(missed.tolist()),
                    joint=torch.where(gain < 0, -joint[row, own], joint[row, own]).tolist(),
                    stable=stable[row],
                )
            )
        return Attributions(theta, tuple(groups))

    def _stability(
        self, tables: Tensor, used: Tensor, subsets: list[list[int]]
    ) -> list[tuple[float, ...]]:
        """Of each group, its overlap with what is found when another word is always in or out."""
        k = used.shape[1]
        again = [[0.0] * len(own) for own in subsets]
        for j in range(k):
            above, below = 2**j, 2 ** (k - 1 - j)
            others = torch.cat([used[:, :j], used[:, j + 1 :]], 1)
            for half in tables.unflatten(-1, (above, 2, below)).unbind(-2):
                parts = best_partition(closed_indices(half.flatten(-2), others)[0], self.price)
                for row, (own, found, part) in enumerate(zip(again, subsets, parts, strict=True)):
                    for i, group in enumerate(found if used[row, j] else ()):
                        if not group & below:
                            high, low = divmod(group, 2 * below)
                            own[i] += _overlap(high * below + low, part)
        slots = used.sum(1).tolist()
        return [
            tuple(
                total / (2 * (words - group.bit_count())) if words > group.bit_count() else 1.0
                for total, group in zip(own, found, strict=True)
            )
            for own, found, words in zip(again, subsets, slots, strict=True)
        ]


def closed_indices(tables: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """The closed Sobol' index of each subset of k words, of tables (B, m, 2^k) together.

    used (B, k): slots with a word; a subset with another slot has index 0. Returns the indices,
    (B, 2^k), and the sum of the joint effects of two words within each subset, (B, 2^k): above 0
    where the words do more together. Tables that hardly change have no variance to explain.
    """
    size = tables.shape[-1]
    k = size.bit_length() - 1
    effects = tables
    for j in range(k):
        without, with_word = effects.unflatten(-1, (2**j, 2, -1)).unbind(-2)
        effects = torch.stack([(without + with_word) / 2, (with_word - without) / 2], -2).flatten(
            -3
        )
    rows = torch.arange(size, device=tables.device)
    words = all_coalitions(k).to(tables.device).sum(1)
    absent = coalition_index(~used)[:, None]
    legal = ((rows & absent) == 0) & (rows > 0)
    squares = effects.square().sum(1)
    variance = squares[:, 1:].sum(1, keepdim=True)
    shares = squares / variance.clamp_min(FLAT)
    explained = _over_subsets(torch.where(legal & (variance > FLAT), shares, 0.0))
    pairs = torch.where(words == 2, effects.sum(1), 0.0)
    return torch.where(legal, explained, 0.0), _over_subsets(pairs)


def _over_subsets(numbers: Tensor) -> Tensor:
    """The sum of numbers (B, 2^k) over all subsets of each subset."""
    for j in range(numbers.shape[-1].bit_length() - 1):
        without, with_word = numbers.unflatten(-1, (2**j, 2, -1)).unbind(-2)
        numbers = torch.stack([without, without + with_word], -2).flatten(-3)
    return numbers


def best_partition(explained: Tensor, price: float) -> list[list[int]]:
    """The disjoint subsets of k words that explain most, of each pair, the largest first.

    explained (B, 2^k): of each subset; price: of each effect within a subset. A subset is an index
    of the table; a word may be in none. Exact: the best way to deal with a set of words is to leave
    its first word out, or to take a subset that holds it and then deal with the rest. Where two
    ways are alike, fewer and smaller groups are taken.
    """
    size = explained.shape[1]
    k = size.bit_length() - 1
    effects = 2.0 ** all_coalitions(k).sum(1).to(explained) - 1
    score = explained - price * effects
    best = torch.zeros_like(score)
    taken = torch.zeros(score.shape, dtype=torch.int64, device=score.device)
    for words, subsets in _subsets_with_first(k):
        parts = torch.tensor(subsets, device=score.device)
        ways = score[:, parts] + best[:, words - parts]
        left_out = best[:, words - (1 << (words.bit_length() - 1))]
        most = ways.amax(1)
        first = (ways >= most[:, None] - TIE).long().argmax(1)
        better = most > left_out + TIE
        best[:, words] = torch.where(better, most, left_out)
        taken[:, words] = torch.where(better, parts[first], 0)
    found = []
    for row, shares in zip(taken.tolist(), explained.tolist(), strict=True):
        words, own = size - 1, list[int]()
        while words:
            group = row[words]
            own += [group] if group else []
            words -= group or 1 << (words.bit_length() - 1)
        found.append(sorted(own, key=lambda group: -shares[group]))
    return found


def _overlap(group: int, found: list[int]) -> float:
    """The largest Jaccard index of a group with one that is found, both as sets of bits."""
    return max(
        ((group & one).bit_count() / (group | one).bit_count() for one in found), default=0.0
    )


@cache
def _subsets_with_first(k: int) -> list[tuple[int, list[int]]]:
    """Of every set of k words, in rising order, its subsets with its first word, small ones first.

    Both are indices of a table, in which the first word has the highest bit.
    """
    found = []
    for words in range(1, 2**k):
        first = 1 << (words.bit_length() - 1)
        rest = words - first
        subsets, part = [], rest
        while True:
            subsets.append(part | first)
            if not part:
                break
            part = (part - 1) & rest
        found.append((words, sorted(subsets, key=lambda one: (one.bit_count(), -one))))
    return found


def _read(
    candidates: list[int],
    bits: Tensor,
    explained: list[float],
    *,
    kept: tuple[float, ...],
    removed: tuple[float, ...],
    suffices: tuple[bool, ...],
    missed: tuple[bool, ...],
    joint: list[float],
    stable: tuple[float, ...],
) -> Groups:
    """The groups of one pair.

    bits (t, k): their words, in slots of which the first are used. joint: the joint effects of
    each, above 0 where they go the way of the group.
    """
    kinds = (TOGETHER if effect >= 0 else SUBSTITUTES for effect in joint)
    total = sum(explained)
    return Groups(
        candidates=tuple(candidates),
        phi=tuple(tuple(map(float, row)) for row in bits.T.tolist()[: len(candidates)]),
        psi=tuple(share / total for share in explained),
        kept=kept,
        removed=removed,
        kinds=tuple(
            kind if one > 1 else "" for kind, one in zip(kinds, bits.sum(1).tolist(), strict=True)
        ),
        suffices=suffices,
        missed=missed,
        stability=stable,
    )
