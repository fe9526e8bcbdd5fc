"""The groups that a pair brings with it, checked, and their words in a table of fixed width."""

from __future__ import annotations

import torch
from torch import Tensor

from gmask_pl.metrics.pair_metric import RankedPairs
from gmask_pl.types import UserError


def groups_given(pairs: RankedPairs, metric: str) -> Tensor:
    """The group of every word (B, W). Raises ValueError where no groups are given."""
    groups = pairs.groups
    if groups is None or groups.shape != pairs.valid.shape:
        raise ValueError(f"{metric}: give the group of every word of the batch")
    return groups


def candidate_words(pairs: RankedPairs, metric: str) -> Tensor:
    """The words (B, W) bool that could have been grouped."""
    grouped = groups_given(pairs, metric) >= 0
    return grouped if pairs.candidates is None else pairs.candidates | grouped


def grouped_words(groups: Tensor, most: int, metric: str) -> Tensor:
    """The positions of the grouped words of every pair, (B, most), -1 in spare places.

    Raises UserError for a pair with more of them.
    """
    grouped = groups >= 0
    largest = int(grouped.sum(1).max()) if len(groups) else 0
    if largest > most:
        raise UserError(
            f"a pair has {largest} grouped words: set {metric}.max_words={largest} or more"
        )
    order = grouped.long().argsort(dim=1, descending=True, stable=True)[:, :most]
    words = torch.where(grouped.gather(1, order), order, -1)
    spare = words.new_full((len(words), most - words.shape[1]), -1)
    return torch.cat([words, spare], 1)


def every_subset(words: Tensor, valid: Tensor) -> Tensor:
    """Keep-masks (B, 2^m, W) of all subsets of words (B, m), -1 being none; word j has bit j."""
    b, m = words.shape
    width = valid.shape[1]
    bits = (torch.arange(2**m, device=words.device)[:, None] >> torch.arange(m).to(words)) & 1
    columns = torch.where(words < 0, width, words)[:, None].expand(-1, 2**m, -1)
    kept = torch.zeros(b, 2**m, width + 1, dtype=torch.bool, device=words.device)
    kept = kept.scatter(2, columns, bits.bool().expand(b, -1, -1))
    return kept[..., :width] & valid[:, None]
