"""Pairs of a vocabulary's own words, on which a model is tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, product
from string import ascii_lowercase

from transformers import PreTrainedTokenizerFast

from gmask_pl.types import PairExample, Span

_PIECES = 600  # of a vocabulary that are looked at


def tokenizer_words(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Words that the tokenizer's vocabulary holds as pieces, from all over it."""
    special = set(tokenizer.all_special_ids)
    ids = [id for id in sorted(tokenizer.get_vocab().values()) if id not in special]
    step = max(1, len(ids) // _PIECES)
    texts = (str(tokenizer.decode([id])).strip() for id in ids[::step])
    return [text for text in texts if text.isalnum()]


def distinct(words: Sequence[str]) -> Iterator[str]:
    """The words without repetition, the longer ones first, then what two of them make together.

    And what letters make, for a vocabulary of hardly any words.
    """
    seen: set[str] = set()
    known = sorted({word.casefold(): word for word in words}.values(), key=len, reverse=True)
    made = (one + other for shift in range(1, len(known)) for one, other in _turned(known, shift))
    for word in chain(known, made, map("".join, product(ascii_lowercase, repeat=3))):
        if word.casefold() not in seen:
            seen.add(word.casefold())
            yield word


def _turned(words: list[str], by: int) -> Iterator[tuple[str, str]]:
    return zip(words, words[by:] + words[:by], strict=True)


def trial_pairs(words: Sequence[str], sizes: Sequence[tuple[int, int]]) -> list[PairExample]:
    """Pairs of as many words a side as ``sizes`` says, no two of them alike."""
    left = distinct(words)
    pairs = []
    for number, size in enumerate(sizes):
        sides = [_side(list(islice(left, count))) for count in size]
        (text1, spans1), (text2, spans2) = sides
        pairs.append(PairExample(f"trial {number}", text1, text2, spans1, spans2))
    return pairs


def _side(words: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), tuple(spans)
