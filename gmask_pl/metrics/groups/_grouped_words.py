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
