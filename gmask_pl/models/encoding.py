"""From tokenised pairs to a padded PairBatch, and pairs in the word pieces of a tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from gmask_pl.types import PairBatch, PairExample, Span, UserError

UNITS = ("word", "token")
LONGEST = 512  # tokens, where neither tokenizer nor network says how many it reads
_UNSAID = 100_000  # a tokenizer that says more than this says nothing


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """One pair as token ids, with the side and the joint word position of every token.

    ``words1`` and ``words2`` are what the word positions count: the words of the pair, or its
    word pieces when the unit is the token; ``spans1`` and ``spans2`` say where each stands in its
    text, None where they are those of the example. word_of_token is -1 on special tokens.
    """

    token_ids: Sequence[int]
    segment: Sequence[int]
    word_of_token: Sequence[int]
    words1: tuple[str, ...]
    words2: tuple[str, ...]
    truncated: bool = False
    spans1: tuple[Span, ...] | None = None
    spans2: tuple[Span, ...] | None = None


def longest_of(tokenizer: Any) -> int:
    """How many tokens the tokenizer says that its model reads, else LONGEST."""
    said = int(min(getattr(tokenizer, "model_max_length", LONGEST), _UNSAID))
    return said if said < _UNSAID else LONGEST


def check_unit(unit: str) -> str:
    """``unit`` itself; raises UserError when it is not one of UNITS."""
    if unit not in UNITS:
        raise UserError(f"unknown unit {unit!r}: choose one of {', '.join(UNITS)}")
    return unit


def pair_key(example: PairExample, pair: EncodedPair) -> str:
    """What a pair is: a digest of both texts and of the units (words or pieces) it is cut into.

    Its id, its label and its neighbours take no part.
    """
    content = json.dumps([example.text1, example.text2, pair.words1, pair.words2])
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def collate(
    examples: Sequence[PairExample], encoded: Sequence[EncodedPair], pad_token_id: int
) -> PairBatch:
    """Pads encoded pairs into a batch; words with no token left take no place in it."""
    b = len(encoded)
    length = max(len(pair.token_ids) for pair in encoded)
    read = [sorted({word for word in pair.word_of_token if word >= 0}) for pair in encoded]
    # At least one, if not a valid one: a tokenizer may read nothing of a text.
    width = max(1, *map(len, read))
    token_ids = torch.full((b, length), pad_token_id)
    attention = torch.zeros(b, length, dtype=torch.bool)
    segment = torch.zeros(b, length, dtype=torch.int64)
    word_of_token = torch.full((b, length), -1)
    word_place = torch.full((b, width), -1)
    word_side = torch.zeros(b, width, dtype=torch.int64)
    for row, (pair, words) in enumerate(zip(encoded, read, strict=True)):
        n, n1, count = len(pair.token_ids), len(pair.words1), len(words)
        column = {word: i for i, word in enumerate(words)}
        token_ids[row, :n] = torch.tensor(pair.token_ids)
        attention[row, :n] = True
        segment[row, :n] = torch.tensor(pair.segment)
        word_of_token[row, :n] = torch.tensor([column.get(word, -1) for word in pair.word_of_token])
        word_place[row, :count] = torch.tensor(words, dtype=torch.int64)
        word_side[row, :count] = torch.tensor([word >= n1 for word in words], dtype=torch.int64)
    return PairBatch(
        ids=tuple(example.id for example in examples),
        keys=tuple(map(pair_key, examples, encoded)),
        words1=tuple(pair.words1 for pair in encoded),
        words2=tuple(pair.words2 for pair in encoded),
        text1=tuple(example.text1 for example in examples),
        text2=tuple(example.text2 for example in examples),
        spans1=tuple(
            e.spans1 if pair.spans1 is None else pair.spans1
            for e, pair in zip(examples, encoded, strict=True)
        ),
        spans2=tuple(
            e.spans2 if pair.spans2 is None else pair.spans2
            for e, pair in zip(examples, encoded, strict=True)
        ),
        token_ids=token_ids,
        attention=attention,
        segment=segment,
        word_of_token=word_of_token,
        word_place=word_place,
        word_side=word_side,
        word_valid=word_place >= 0,
        labels=torch.tensor([-1 if e.label is None else e.label for e in examples]),
        truncated=torch.tensor([pair.truncated for pair in encoded]),
    )


class SubwordEncoder:
    """Encodes pairs with a fast tokenizer; a token belongs to the word it overlaps.

    pad_token_id: what short rows are filled up with, on the right whatever the tokenizer prefers.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, max_length: int, unit: str, pad_token_id: int
    ) -> None:
        self.tokenizer, self.max_length, self.unit = tokenizer, max_length, unit
        self.pad_token_id = pad_token_id
        self.vocabulary_size = max(tokenizer.get_vocab().values()) + 1

    def __call__(self, examples: Sequence[PairExample]) -> PairBatch:
        tokens = self.tokenizer(
            [example.text1 for example in examples],
            [example.text2 for example in examples],
            truncation="longest_first",
            max_length=self.max_length,
        )
        encoded = [self._encode(e, tokens.encodings[i]) for i, e in enumerate(examples)]
        return collate(examples, encoded, self.pad_token_id)

    def _encode(self, example: PairExample, tokens: Any) -> EncodedPair:
        owners = (words_at(example.spans1), words_at(example.spans2, len(example.spans1)))
        words: list[int] = []
        for side, span in zip(tokens.sequence_ids, tokens.offsets, strict=True):
            words.append(-1 if side is None else word_at(owners[side], span))
        words1, words2, spans1, spans2 = example.words1, example.words2, None, None
        if self.unit == "token":
            pieces = [i for i, word in enumerate(words) if word >= 0]
            sides = [[i for i in pieces if tokens.sequence_ids[i] == side] for side in (0, 1)]
            words1, words2 = (tuple(tokens.tokens[i] for i in side) for side in sides)
            spans1, spans2 = (tuple(tokens.offsets[i] for i in side) for side in sides)
            words = [-1] * len(words)
            for unit, position in enumerate(pieces):
                words[position] = unit
        return EncodedPair(
            tokens.ids,
            tokens.type_ids,
            words,
            words1,
            words2,
            truncated=bool(tokens.overflowing),
            spans1=spans1,
            spans2=spans2,
        )


def word_at(owner: Mapping[int, int], span: Span) -> int:
    """The word of a token's characters, the first that one of them belongs to; -1 for none."""
    return next((owner[place] for place in range(*span) if place in owner), -1)


def words_at(spans: Sequence[Span], first: int = 0) -> dict[int, int]:
    """The word that each character belongs to, by its place; words are counted from ``first``."""
    return {place: word for word, span in enumerate(spans, first) for place in range(*span)}
