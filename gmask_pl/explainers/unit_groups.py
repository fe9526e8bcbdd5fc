"""Groups of words that act as one: found exactly, from tables of the model's answers."""

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
from gmask_pl.explainers.explainer import IN_VALUE, Explainer
from gmask_pl.explainers.gmask import ResponseTables
from gmask_pl.explainers.two_sided_search import TwoSidedSearch
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.masking.removal_orders import TIE
from gmask_pl.settings import NotNegative, Range, checked
from gmask_pl.types import SUBSTITUTES, TOGETHER, Attributions, Groups, PairBatch

FLAT = 1e-10  # the variance of answers that do not change: (1e-5)^2, the rounding of a model


class UnitGroups(CandidateExplainer):
    """Groups whose words count as one unit, and word scores as `GMask.two_sided` reads them.

    - removal: how words are removed; None: as the model usually does.
    - word_filter: the explainer whose k best words are grouped; None: `TwoSidedSearch`.
    - k: words that are grouped.
    - price: what a group must explain, as a share of the variance of the answers, to be there.
    - order_weight: of what is missed, in the order of the words, see `two_sided_order`.

    The model answers all 2^k subsets of the candidates, alone and within the rest of the text. A
    group of words G is modelled as one unit of a subset S, in one of two ways:

    - ``together``: the unit is on where all words of G are in S;
    - ``substitutes``: it is on where any word of G is in S, as one can stand in for another.

    Units of words that do not overlap are independent over all subsets. So the shares of variance
    R^2 that they explain, each as one regressor, simply add up, and the best of all ways to cut the
    candidates into groups and words of no group,

        max over disjoint G_1, ..., G_t of  sum_i (R^2(G_i) - price),

    is found exactly, by dynamic programming over subsets. Two words whose effects add up explain
    more as two groups of one word each, so a group of several words says that they do something
    together. R^2 is over both tables, psi is a group's share of what all groups explain.

    What it owes to GMASK: candidate words of both sides (Section 3.3), groups across the sides,
    and memberships phi and importance psi (Section 3.1). phi is 0 or 1 here, a word may be in no
    group, and the number of groups follows from the answers. Nothing is learnt or drawn at random.

    Cost of a pair: 2^(k+1) evaluations beside those of the filter; no gradients.

    >>> from gmask_pl import PairExplainer, UnitGroups
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(model, method=UnitGroups(k=4), labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> [(group.words, group.kind) for group in found.word_groups]
    [(('not', 'never'), 'together')]
    """

    score_meaning = IN_VALUE

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        word_filter: Explainer | None = None,
        k: TableSize = 8,
        price: Annotated[float, Range(0.0, 1.0)] = 0.03,  # chosen on dev pairs
        order_weight: NotNegative = 3.0,  # as `GMask`, chosen on dev pairs
    ) -> None:
        own = word_filter or TwoSidedSearch(removal=removal, order_weight=order_weight)
        super().__init__(removal=removal, word_filter=own, k=k)
        self.price, self.order_weight = price, order_weight

    @property
    def tables(self) -> int:
        return 2

    def candidates(self, filtered: Tensor, batch: PairBatch) -> Tensor:
        return in_text_order(super().candidates(filtered, batch), filtered.shape[1])

    def attribute(self, masked: MaskedModel, candidates: Tensor) -> Attributions:
        tables = ResponseTables(masked, candidates, DROP)
        theta = tables.two_sided_scores(self.order_weight)
        alone, without = (table.double() for table in tables.values)
        explained, together = unit_effects(
            torch.stack([alone, without.flip(1)], 1), candidates >= 0
        )
        subsets = best_partition(explained - self.price)
        groups = [
            _read(*row)
            for row in zip(
                candidates.tolist(), subsets, explained, together, alone, without, strict=True
            )
        ]
        return Attributions(theta, tuple(groups))


def unit_effects(tables: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """What each subset of k words explains of tables (B, m, 2^k) as one unit.

    used (B, k): slots with a word; a subset with another slot explains nothing. Returns the share
    of the variance of all m tables that is explained, (B, 2^k), and whether that is as words that
    act ``together``, else as ``substitutes``, (B, 2^k) bool. Tables that hardly change have no
    variance to explain.

    The squared covariance with an indicator u of mean q is divided by its variance q (1 - q). With
    all words of G: E[v u] is a sum over supersets of G. With none of them, the complement of the
    indicator of any: a sum over subsets of what is not in G.
    """
    size = tables.shape[-1]
    k = size.bit_length() - 1
    rows = torch.arange(size, device=tables.device)
    q = 0.5 ** all_coalitions(k).to(tables).sum(1)
    centred = tables - tables.mean(-1, keepdim=True)
    with_all = _sums(centred, supersets=True) / size
    with_none = _sums(centred, supersets=False).flip(-1) / size
    spread = (q * (1 - q)).clamp_min(1e-12)
    variance = centred.square().mean(-1).sum(1, keepdim=True)
    shares = [
        (part.square() / spread).sum(1) / variance.clamp_min(FLAT) for part in (with_all, with_none)
    ]
    absent = coalition_index(~used)[:, None]
    legal = ((rows & absent) == 0) & (rows > 0) & (variance > FLAT)
    together, substitutes = (share.masked_fill(~legal, 0.0) for share in shares)
    return torch.maximum(together, substitutes), together >= substitutes - TIE


def _sums(tables: Tensor, *, supersets: bool) -> Tensor:
    """The sum of a table (..., 2^k) over all supersets, or all subsets, of each subset."""
    size = tables.shape[-1]
    summed = tables
    for j in range(size.bit_length() - 1):
        without, with_word = summed.unflatten(-1, (2**j, 2, -1)).unbind(-2)
        both = without + with_word
        pair = (both, with_word) if supersets else (without, both)
        summed = torch.stack(pair, -2).flatten(-3)
    return summed


def best_partition(score: Tensor) -> list[list[int]]:
    """The disjoint subsets of k words with the largest sum of ``score`` (B, 2^k), of each pair.

    A subset is an index of the table; a word may be in none. Exact: the best way to deal with a set
    of words is to leave its first word out, or to take a subset that holds it and then deal with
    the rest. Where two ways are alike, fewer and smaller groups are taken.
    """
    size = score.shape[1]
    k = size.bit_length() - 1
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
    for row in taken.tolist():
        words, own = size - 1, list[int]()
        while words:
            group = row[words]
            own += [group] if group else []
            words -= group or 1 << (words.bit_length() - 1)
        found.append(own)
    return found


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
    subsets: list[int],
    explained: Tensor,
    together: Tensor,
    alone: Tensor,
    without: Tensor,
) -> Groups:
    """The groups of one pair, the one that explains most first, with the words that are in one."""
    k = len(candidates)
    subsets = sorted(subsets, key=lambda one: -float(explained[one]))
    total = sum(float(explained[one]) for one in subsets)
    bits = all_coalitions(k)[subsets].tolist()
    home = {candidates[j]: i for i, one in enumerate(bits) for j in range(k) if one[j]}
    t = len(subsets)
    kinds = (TOGETHER if bool(together[one]) else SUBSTITUTES for one in subsets)
    return Groups(
        candidates=tuple(sorted(home)),
        phi=tuple(tuple(float(i == home[word]) for i in range(t)) for word in sorted(home)),
        psi=tuple(float(explained[one]) / total for one in subsets),
        kept=tuple(float(alone[one]) for one in subsets),
        removed=tuple(float(without[one]) for one in subsets),
        kinds=tuple(
            kind if one.bit_count() > 1 else "" for kind, one in zip(kinds, subsets, strict=True)
        ),
    )
