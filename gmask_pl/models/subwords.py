"""Pairs in the word pieces of a pre-trained tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast

from gmask_pl.models.encoding import EncodedPair, collate
from gmask_pl.types import PairBatch, PairExample, Span


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
        finders = (_word_finder(example.spans1), _word_finder(example.spans2))
        words: list[int] = []
        for side, span in zip(tokens.sequence_ids, tokens.offsets, strict=True):
            word = -1 if side is None else finders[side](span)
            words.append(word + len(example.spans1) if side == 1 and word >= 0 else word)
        words1, words2 = example.words1, example.words2
        if self.unit == "token":
            pieces = [i for i, word in enumerate(words) if word >= 0]
            names = [
                [tokens.tokens[i] for i in pieces if tokens.sequence_ids[i] == s] for s in (0, 1)
            ]
            words1, words2 = tuple(names[0]), tuple(names[1])
            words = [-1] * len(words)
            for unit, position in enumerate(pieces):
                words[position] = unit
        return EncodedPair(
            tokens.ids, tokens.type_ids, words, words1, words2, truncated=bool(tokens.overflowing)
        )


def _word_finder(spans: Sequence[Span]) -> Any:
    """A function from a token's span to the first word it overlaps, or -1."""
    owner = {place: word for word, (start, end) in enumerate(spans) for place in range(start, end)}

    def find(span: Span) -> int:
        return next((owner[place] for place in range(*span) if place in owner), -1)

    return find
