"""Words of a text (Appendix B): cleaning, word spans, and word positions of highlights."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from gmask_pl.types import Span

# ``\w`` leaves out combining marks, without which accents and Indic vowels would cut words.
_MARKS = "".join(c for c in map(chr, range(0x10000)) if unicodedata.category(c).startswith("M"))
_LETTER = rf"[^\W_][{re.escape(_MARKS)}]*"
_NUMBER = rf"\d+(?:[.,:/]\d+)+(?:{_LETTER})*"  # 2.5, 10,000, 9/11, 10:30am
_INITIALS = rf"[^\W\d_](?:\.[^\W\d_])+(?!{_LETTER})"  # u.s, e.g, a.m, but not "end.Next"
_ATOM = rf"(?:{_NUMBER}|{_INITIALS}|(?:{_LETTER})+)"
_WORD = rf"{_ATOM}(?:['’&\-]{_ATOM})*"  # don't, t-shirt, at&t
_CLITIC = rf"['’](?:s|m|re|ve|ll|d|t)(?!{_LETTER})"  # of text that was split before: "denmark 's"
_STOP = r"(?P<stop>[.,?!;:])(?P=stop)*"
_SYMBOL = r"[$€£¥₹%&]"
_KEPT = rf"{_WORD}|{_CLITIC}|{_STOP}|{_SYMBOL}"

_CLEAN = re.compile(_KEPT, re.IGNORECASE)
_STOP_MARK = re.compile(_STOP)
_COVER = re.compile(rf"{_KEPT}|(?:(?!{_KEPT.replace('stop', 'next')})\S)+", re.IGNORECASE)
_TOKEN = re.compile(r"\S+")


def find_words(text: str, *, clean: bool) -> tuple[str, tuple[Span, ...]]:
    """The text a model reads, and the character spans of its words (Appendix B).

    With ``clean`` the text becomes its words in lower case, joined by single spaces: letters and
    digits of any script with the signs inside them (don't, t-shirt, 2.5), stops (a run of one
    stop is a single word), currency, percent and ampersand. Everything else is removed. Cleaning
    a clean text changes nothing.

    Without, only surrounding white space goes. The words are the same, and what cleaning would
    remove makes words of its own: every visible character belongs to exactly one word.
    """
    if not clean:
        text = text.strip()
        return text, tuple(_span(*match.span()) for match in _COVER.finditer(text))
    words = [_clean_word(match[0]) for match in _CLEAN.finditer(text)]
    spans, start = [], 0
    for word in words:
        spans.append(_span(start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), tuple(spans)


def highlighted_words(raw: str, tokens: Iterable[int], *, clean: bool) -> frozenset[int]:
    """Word positions of highlighted ``raw.split()`` positions (0-based).

    A token stands for its words that are not mere punctuation, or for all when it has only such.
    Raises IndexError for a token that the text does not have.
    """
    pattern = _CLEAN if clean else _COVER
    words = [match.span() for match in pattern.finditer(raw)]
    spans = [match.span() for match in _TOKEN.finditer(raw)]
    found: set[int] = set()
    for token in tokens:
        if not 0 <= token < len(spans):
            raise IndexError(f"highlighted word {token} of a text of {len(spans)} words")
        first, last = spans[token]
        inside = [i for i, (start, _) in enumerate(words) if first <= start < last]
        named = [i for i in inside if any(map(str.isalnum, raw[slice(*words[i])]))]
        found.update(named or inside)
    return frozenset(found)


@cache
def _span(start: int, end: int) -> Span:
    """One object per span: a dataset holds millions of them, of which few are distinct."""
    return start, end


def _clean_word(word: str) -> str:
    if _STOP_MARK.fullmatch(word):
        return word[0]
    return unicodedata.normalize("NFC", word.lower().replace("’", "'"))
