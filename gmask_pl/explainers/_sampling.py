"""Random sets of words, which the explainers that fit a surrogate to masked answers share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def random_subsets(n: int, sizes: Tensor, generator: torch.Generator) -> Tensor:
    """Sets of ``sizes`` (S,) of n things, each set of its size equally likely: (S, n) bool."""
    shuffled = torch.rand(len(sizes), n, generator=generator).argsort(1)
    return shuffled.argsort(1) < sizes[:, None]


def over_words(sets: Sequence[Tensor], valid: Tensor) -> Tensor:
    """Keep-masks (B, S, W) of sets (S_b, n_b) bool over the n_b valid words of each pair.

    valid (B, W) bool. Pairs with fewer sets are filled up with the empty set.
    """
    b, width = valid.shape
    keep = torch.zeros(b, max(len(kept) for kept in sets), width, dtype=torch.bool)
    for row, kept in enumerate(sets):
        words = valid[row].nonzero().squeeze(1).cpu()
        keep[row, : len(kept), words] = kept
    return keep.to(valid.device)
