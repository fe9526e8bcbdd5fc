"""Pairs by their texts and what is known of them, and each as a model reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from gmask_pl.types import PairBatch, PairExample


def pairs_digest(pairs: Iterable[PairExample]) -> str:
    """A digest of pairs and all that is known of them, in their order."""
    found = hashlib.blake2b(digest_size=16)
    for e in pairs:
        highlights = [
            [None if words is None else sorted(words) for words in (h.words1, h.words2)]
            for h in e.highlights
        ]
        known: list[Any] = [e.label, highlights, [sorted(group) for group in e.evidence]]
        known += [] if e.alignments is None else [sorted(e.alignments)]
        found.update(
            repr((e.id, e.text1, e.text2, e.spans1, e.spans2, known)).encode(
                "utf-8", "surrogatepass"
            )
        )
    return found.hexdigest()


def texts_digest(pairs: Iterable[PairExample]) -> str:
    """A digest of the texts of pairs, in their order."""
    found = hashlib.blake2b(digest_size=16)
    for pair in pairs:
        found.update(f"{pair.text1}\0{pair.text2}\0".encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def pair_keys(batch: PairBatch, *asked: str) -> list[str]:
    """A digest of each pair as the model reads it, and of what it is ``asked`` under.

    Padding and the id of a pair take no part. Its texts do: the token ids of a function's pairs are
    numbers in the order in which words were met, and say nothing elsewhere.
    """
    keys = []
    for row in range(len(batch)):
        read = batch.attention[row]
        fields = (batch.token_ids, batch.segment, batch.word_of_token)
        tokens = [field[row][read].tolist() for field in fields]
        words = batch.word_valid[row].nonzero().flatten().tolist()
        text = repr((asked, batch.keys[row], tokens, words))
        keys.append(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
    return keys
