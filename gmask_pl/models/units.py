"""What gets a score: words, tokens or sentences, of each side its own."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import regex
import torch

from gmask_pl.models.encoding import UNITS
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import PairBatch, PairEncoder, PairExample, Span, UserError

SENTENCE = "sentence"
SCORED = (*UNITS, SENTENCE)
# By Unicode's Sentence_Break (UAX 29). A stop that has other uses, as in numbers, abbreviations and
# names, ends a sentence before white space; one that has none, such as 。 and ।, anywhere. So does
# a blank line, and what stands between two documents.
_ANY = r"[\p{Sentence_Break=STerm}\p{Sentence_Break=ATerm}…]"
_ONLY = r"[\p{Sentence_Break=STerm}--[!?]]"
_END = regex.compile(
    rf"""(?<!{_ANY})(?P<stop>{_ANY}++)[\p{{Pe}}\p{{Pf}}\p{{Pi}}"']*+(?=\s)"""
    rf"""|{_ONLY}{_ANY}*+[\p{{Pe}}\p{{Pf}}"']*+|\n\s*\n|\x1e""",
    regex.V1,
)
# What a full stop behind them does not end: initials such as J. and U.S., titles, Latin and German
# abbreviations, the number of an item of a list; and before a number what counts, before a month a
# day. White space before the stop is of a text that was cut into words.
_INITIALS = r"[\p{Lu}\p{Ll}](?:\. ?[\p{Lu}\p{Ll}])*"
_SHORT = regex.compile(
    rf"(?:^|[\s\p{{Ps}}\p{{Pi}}\"'])(?:{_INITIALS}|mr|mrs|ms|dr|prof|sr|jr|st|mt|mme|mlle|vs|etc|al|cf|"
    r"ca|approx|inc|ltd|co|corp|bzw|usw|vgl|ggf|evtl|inkl|hr|fr|डॉ|др|см)\s?$|(?:^|\n)\s*\d{1,3}$",
    regex.IGNORECASE,
)
_COUNTS = regex.compile(
    r"(?:^|[\s\p{Ps}])(?:nos?|nr|figs?|abb|eqs?|sec|vol|bd|ch|kap|pp)\s?$", regex.IGNORECASE
)
_DAY = regex.compile(r"(?:^|\s)\d{1,2}\s?$")
_MONTH = regex.compile(r"\s+(?:jan|feb|mär|apr|mai|jun|jul|aug|sep|okt|nov|dez)", regex.IGNORECASE)
_NUMBER = regex.compile(r"\s*\d")


def encoder_of(classifier: PairClassifier, unit: str | Sequence[str]) -> PairEncoder:
    """The encoder of a model whose W axis counts these units.

    unit: ``word``, ``token`` or ``sentence``, of both sides; or a list of two, one of each side, of
    words and sentences: ``["sentence", "word"]`` for a passage and a claim. Raises UserError.
    """
    sides = sides_of(unit)
    if sides == ("token", "token"):
        return classifier.encoder("token")
    words = classifier.encoder("word")
    return words if sides == ("word", "word") else _UnitEncoder(words, sides)


def sides_of(unit: Any) -> tuple[str, str]:
    """The unit of each side. Raises UserError for what is none."""
    sides = [unit, unit] if isinstance(unit, str) else list(unit or ())
    if len(sides) != 2 or any(side not in SCORED for side in sides):
        raise UserError(
            f"unit={unit!r}: choose one of {', '.join(SCORED)}, or one for each side, as in "
            "[sentence,word]"
        )
    if "token" in sides and sides != ["token", "token"]:
        raise UserError(f"unit={unit!r}: tokens are counted of both sides: set unit=token")
    return str(sides[0]), str(sides[1])


def sentence_spans(text: str) -> tuple[Span, ...]:
    """The spans of the sentences of a text; every visible character belongs to one.

    A sentence ends with a stop of any script and what closes behind it: before white space, where
    the stop has other uses, at a blank line, or where the text ends. Abbreviations such as e.g. and
    Dr., initials and numbers end none. It is a rule of thumb.

    >>> from gmask_pl.models.units import sentence_spans
    >>> text = "Dr. Smith rose 2.5 cm. Did he? Yes!"
    >>> [text[start:end] for start, end in sentence_spans(text)]
    ['Dr. Smith rose 2.5 cm.', 'Did he?', 'Yes!']
    """
    ends = [match.end() for match in _END.finditer(text) if _ends(match)]
    spans: list[Span] = []
    start = 0
    for end in (*ends, len(text)):
        piece = text[start:end]
        if bare := piece.strip():
            first = start + piece.index(bare)
            spans.append((first, first + len(bare)))
        start = end
    return tuple(spans)


def _ends(match: regex.Match[str]) -> bool:
    """Whether what looks like the end of a sentence is one."""
    if match["stop"] != ".":
        return True
    text, place = match.string, match.start()
    before = text[max(0, place - 12) : place]
    if _COUNTS.search(before):
        return not _NUMBER.match(text, match.end())
    if _DAY.search(before) and _MONTH.match(text, match.end()):
        return False
    return not _SHORT.search(before)


class _UnitEncoder:
    """Encodes pairs by their words, and counts larger units that these belong to."""

    def __init__(self, words: PairEncoder, sides: tuple[str, str]) -> None:
        self.words, self.sides = words, sides
        self.vocabulary_size = words.vocabulary_size

    def __call__(self, examples: Sequence[PairExample]) -> PairBatch:
        return in_units(self.words(examples), examples, self.sides)


def in_units(
    batch: PairBatch, examples: Sequence[PairExample], sides: tuple[str, str]
) -> PairBatch:
    """A batch of words (W of them) as one of the units that they belong to."""
    spans = [
        (_spans(e.text1, e.spans1, sides[0]), _spans(e.text2, e.spans2, sides[1])) for e in examples
    ]
    owners = [_owners(example, *own) for example, own in zip(examples, spans, strict=True)]
    # By rows: the units of which the model reads a word, in their order.
    places = batch.places
    read = [
        sorted({owner[word] for word in words}) for owner, words in zip(owners, places, strict=True)
    ]
    b, width = len(batch), max([1, *map(len, read)])
    place = torch.full((b, width), -1)
    side = torch.zeros(b, width, dtype=torch.int64)
    of_token = torch.full_like(batch.word_of_token, -1)
    for row, (units, owner) in enumerate(zip(read, owners, strict=True)):
        n1 = len(spans[row][0])
        place[row, : len(units)] = torch.tensor(units, dtype=torch.int64)
        side[row, : len(units)] = torch.tensor([unit >= n1 for unit in units], dtype=torch.int64)
        column = {unit: i for i, unit in enumerate(units)}
        of_word = [column[owner[word]] for word in places[row]] + [-1]
        of_token[row] = torch.tensor(of_word)[batch.word_of_token[row]]
    words1 = tuple(_texts(e.text1, own[0]) for e, own in zip(examples, spans, strict=True))
    words2 = tuple(_texts(e.text2, own[1]) for e, own in zip(examples, spans, strict=True))
    return replace(
        batch,
        keys=tuple(map(_key, batch.keys, words1, words2)),
        words1=words1,
        words2=words2,
        spans1=tuple(own[0] for own in spans),
        spans2=tuple(own[1] for own in spans),
        word_of_token=of_token,
        word_place=place,
        word_side=side,
        word_valid=place >= 0,
    )


def _spans(text: str, words: Sequence[Span], unit: str) -> tuple[Span, ...]:
    return tuple(words) if unit == "word" else tuple(_joined(sentence_spans(text), words))


def _joined(sentences: Sequence[Span], words: Sequence[Span]) -> list[Span]:
    """Sentences, in each of which a word begins: one that lies within a word goes with its start.

    One that no word touches stays; no word of it can be removed.
    """
    starts = [start for start, _ in words]
    found: list[Span] = []
    for begin, end in sentences:
        word = bisect_left(starts, begin)  # the first that begins here or later
        alone = word == len(words) or starts[word] >= end
        if found and alone and word and words[word - 1][1] > begin:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return found


def _owners(example: PairExample, one: Sequence[Span], two: Sequence[Span]) -> list[int]:
    """The unit that every word begins in, or else the next one, both counted over both sides."""
    found: list[int] = []
    for units, words, shift in ((one, example.spans1, 0), (two, example.spans2, len(one))):
        ends = [end for _, end in units]
        found += [shift + min(bisect_right(ends, start), len(ends) - 1) for start, _ in words]
    return found


def _texts(text: str, spans: Sequence[Span]) -> tuple[str, ...]:
    return tuple(text[start:end] for start, end in spans)


def _key(key: str, words1: Sequence[str], words2: Sequence[str]) -> str:
    """What a pair is: its texts and the units that they are cut into."""
    content = json.dumps([key, words1, words2]).encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()
