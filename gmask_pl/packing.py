"""Which tokens of which masked inputs are computed, and which inputs together."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def keep_tokens(word_of_token: Tensor, attention: Tensor, keep: Tensor) -> Tensor:
    """Token keep-masks (N, L) of word keep-masks ``keep`` (N, W).

    All tokens of a word move together; special tokens are always kept, padding never.
    """
    always = keep.new_ones(keep.shape[0], 1)
    columns = torch.where(word_of_token < 0, keep.shape[1], word_of_token)
    return torch.cat([keep, always], dim=1).gather(1, columns) * attention


def leftmost(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Moves the tokens (N, L) bool to the left: their positions (N, M), and which are real.

    M is at least 1, so that a model is never asked about a row without any token.
    """
    length = max(1, int(tokens.sum(1).max()))
    order = torch.argsort(tokens.long(), dim=1, descending=True, stable=True)[:, :length]
    return order, tokens.gather(1, order)


def distinct_masks(keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct masks of each example.

    keep (B, S, W) bool -> rows (N,) the example of each distinct mask, masks (N, W), and
    inverse (B * S,) the distinct mask that stands for each asked one.
    """
    b, s, w = keep.shape
    flat = keep.reshape(b * s, w)
    rows = torch.arange(b, device=keep.device).repeat_interleave(s)
    weights = 2 ** torch.arange(62, device=keep.device)
    keys = [rows] + [(part.long() * weights[: part.shape[1]]).sum(1) for part in flat.split(62, 1)]
    unique, inverse = torch.unique(torch.stack(keys, 1), dim=0, return_inverse=True)
    first = torch.full((len(unique),), b * s, device=keep.device)
    first.scatter_reduce_(0, inverse, torch.arange(b * s, device=keep.device), "amin")
    return rows[first], flat[first], inverse


def chunks(lengths: Tensor, token_budget: int) -> Iterator[Tensor]:
    """Index sets of rows of similar length, each of at most ``token_budget`` padded tokens."""
    sizes, order = torch.sort(lengths)
    start, sizes_list = 0, sizes.tolist()
    while start < len(sizes_list):
        end = start + 1
        while end < len(sizes_list) and (end + 1 - start) * sizes_list[end] <= token_budget:
            end += 1
        yield order[start:end]
        start = end
