"""Names for what a model's answers about a pair depend on, the same in every run."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from gmask_pl.types import PairBatch


def weights_fingerprint(model: nn.Module) -> str:
    """A digest of the class of a model and all its weights."""
    digest = hashlib.blake2b(type(model).__qualname__.encode(), digest_size=16)
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def pair_keys(batch: PairBatch, *setting: str) -> list[str]:
    """A digest of each pair as the model reads it, and of the settings it is asked under.

    Padding and the id of a pair take no part.
    """
    keys = []
    for row in range(len(batch)):
        read = batch.attention[row]
        fields = (batch.token_ids, batch.segment, batch.word_of_token)
        tokens = [field[row][read].tolist() for field in fields]
        words = batch.word_valid[row].nonzero().flatten().tolist()
        text = repr((setting, tokens, words))
        keys.append(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
    return keys
