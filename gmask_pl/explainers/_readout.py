"""Scores of the candidate words, read from tables of what keeping and removing them does."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gmask_pl.explainers._coalition import all_coalitions
from gmask_pl.explainers.shapley import shapley_values
from gmask_pl.masking.removal_orders import TIE

_STEP = 1e-9  # between scores that would be equal, so that they keep their order


def owen_values(table: Tensor, group: Tensor) -> Tensor:
    """Owen values (B, k) of a coalition table (B, 2^k) under groups of its words (Owen, 1977).

    group (B, k) int64: the group of each word, from 0; of a slot without a word any. A word's
    value is its mean gain over the orders of arrival in which the words of a group come one after
    the other. So groups share the whole as words do under Shapley values, and the words of a group
    share what the group got. Groups of one word each, or one group of all, give Shapley values.
    """
    _b, size = table.shape
    k = size.bit_length() - 1
    bits = all_coalitions(k).to(table.device)
    member = torch.nn.functional.one_hot(group, k).to(table)  # (B, k words, k groups)
    sizes = member.sum(1)  # (B, groups)
    present = torch.einsum("sj,bjg->bsg", bits.to(table), member)  # words of a group in S
    full, none = present == sizes[:, None], present == 0
    groups = (sizes > 0).sum(1)
    whole = (full & ~none).sum(2)
    open_ = (~(full | none)).sum(2)  # groups that S has only a part of
    weight = _share_table(k, table)
    values = []
    for j in range(k):
        own = group[:, j]
        here = present.gather(2, own[:, None, None].expand(-1, size, 1))[..., 0]
        complete = here == sizes.gather(1, own[:, None])
        started = here > 0
        # S may hold a part of the word's own group, and of the others all or nothing.
        legal = (open_ - (started & ~complete).long() == 0) & ~bits[:, j]
        others = whole - (started & complete).long()
        among_groups = weight[groups[:, None] - 1, others.clamp_max(k - 1)]
        among_words = weight[sizes.gather(1, own[:, None]).long() - 1, here.long().clamp_max(k - 1)]
        gain = _gain(table, j)
        values.append((gain * among_groups * among_words * legal).sum(1))
    return torch.stack(values, 1)


def best_order(worth: Tensor, used: Tensor) -> Tensor:
    """The order of k words that maximises the sum of ``worth`` over its beginnings: (B, k) int64.

    worth (B, 2^k): of a set of words that come first, in table order. Entry r is the word at rank
    r. Exact, by dynamic programming over the 2^k sets; of sums that differ by rounding alone the
    order that ends with the later word is taken. used (B, k): slots with a word; the others come
    last.
    """
    b, size = worth.shape
    k = size.bit_length() - 1
    on_cpu = all_coalitions(k)  # which sets are looked up depends on k alone
    bits = on_cpu.to(worth.device)
    early = (bits & ~used[:, None]).any(2) & (~bits & used[:, None]).any(2)
    worth = worth.double().masked_fill(early, -torch.inf)
    total = torch.full_like(worth, -torch.inf)
    total[:, 0] = 0.0
    last = torch.zeros(b, size, dtype=torch.int64, device=worth.device)
    for level in range(1, k + 1):
        for j in range(k):
            ends = ((on_cpu.sum(1) == level) & on_cpu[:, j]).nonzero()[:, 0].to(worth.device)
            reached = total[:, ends - 2 ** (k - 1 - j)] + worth[:, ends]
            better = reached >= total[:, ends] - TIE
            total[:, ends] = torch.where(better, reached, total[:, ends])
            last[:, ends] = torch.where(better, j, last[:, ends])
    order = torch.zeros(b, k, dtype=torch.int64, device=worth.device)
    here = torch.full((b, 1), size - 1, device=worth.device)
    for rank in range(k - 1, -1, -1):
        word = last.gather(1, here)
        order[:, rank] = word[:, 0]
        here = here - 2 ** (k - 1 - word)
    return order


def in_order(order: Tensor, values: Tensor, used: Tensor) -> Tensor:
    """``values`` (B, k) dealt out anew: the largest to the first word of ``order`` (B, k).

    Equal ones differ by as little as keeps the order. used (B, k): slots with a word; the others
    keep what they have.
    """
    dealt = values.masked_fill(~used, -torch.inf).sort(dim=1, descending=True).values
    dealt = dealt - _STEP * torch.arange(dealt.shape[1], device=dealt.device)
    return torch.where(used, values.scatter(1, order, dealt), values)


def two_sided_order(
    worth: Tensor,
    kept: Tensor,
    decided: Tensor,
    removed: Tensor,
    used: Tensor,
    *,
    removed_weight: float,
) -> Tensor:
    """Scores (B, k) by which the first words suffice most and are missed most, at every length.

    kept, removed (B, 2^k): p(y|.) with only a set of the words, and without it; decided (B, 2^k)
    bool: whether y is predicted with only a set. Of all k! orders the one is taken that maximises

        sum_u decided(first u) + kept(first u) - removed_weight * removed(first u),

    which are post-hoc accuracy, the counterpart of AOPC for kept words, and AOPC over the k words.
    The scores are the words' Shapley values of ``worth`` (B, 2^k), `ResponseTables.worth`, dealt
    out by rank, so they stay in its unit.
    """
    order = best_order(decided + kept - removed_weight * removed, used)
    return in_order(order, shapley_values(worth), used)


def missed_order(worth: Tensor, removed: Tensor, used: Tensor) -> Tensor:
    """As `two_sided_order`, by the order that is missed most: sum_u -removed(first u) alone.

    It is the bound of AOPC over orders of the k words, where the metric removes no more than k.
    """
    return in_order(best_order(-removed, used), shapley_values(worth), used)


def _share_table(k: int, like: Tensor) -> Tensor:
    """Entry (m - 1, s): the weight s! (m - s - 1)! / m! of s others of m that came before."""
    return like.new_tensor(
        [
            [1 / (m * math.comb(m - 1, s)) if s < m else 0.0 for s in range(k)]
            for m in range(1, k + 1)
        ]
    )


def _gain(table: Tensor, j: int) -> Tensor:
    """v(S + j) - v(S) at every S (B, 2^k); 0 where S holds j."""
    b, size = table.shape
    split = table.view(b, 2**j, 2, -1)
    gain = torch.zeros_like(split)
    gain[:, :, 0] = split[:, :, 1] - split[:, :, 0]
    return gain.view(b, size)
