"""Words of a text (Appendix B): cleaning, word spans, and word positions of highlights.

Scripts that are written without spaces, such as Chinese and Japanese, are cut at the word
boundaries of Unicode (UAX 29). It has none for Thai, Lao, Khmer and Burmese, where words are found
by a dictionary: a text of these needs a segmentation of the user's, and a name of theirs within
another text is one word.
"""

from __future__ import annotations

import pkgutil
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise

import regex

from gmask_pl.types import Span, UserError

Segment = Callable[[str], Sequence[str] | Sequence[Span]]

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
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}]")
_BOUNDARY = regex.compile(r"\b", regex.WORD | regex.V1)
_CHARACTER = regex.compile(r"\X")
_LONG = 60  # letters of a value in a message
_UNDIVIDED = regex.compile(r"\p{Line_Break=Complex_Context}+")


def find_words(
    text: str, *, clean: bool, segment: Segment | None = None
) -> tuple[str, tuple[Span, ...]]:
    """The text a model reads, and the character spans of its words (Appendix B).

    With ``clean`` the text becomes its words in lower case, joined by single spaces: letters and
    digits of any script with the signs inside them (don't, t-shirt, 2.5), stops (a run of one
    stop is a single word), currency, percent and ampersand. Everything else is removed. Cleaning
    a clean text changes nothing.

    Without, only surrounding white space goes. The words are the same, and what cleaning would
    remove makes words of its own: every visible character belongs to exactly one word.

    segment: cuts a text, without the white space around it, into words by a rule of the user's: it
    gives them in their order, or their spans. Raises UserError where it gives something else, and
    for a text that is, for the most part, of a script that nobody can cut without a dictionary.
    """
    if segment is None:
        _check_divided(text)
    if not clean or segment is not None:
        text = text.strip()
        return text, tuple(_span(*span) for span in _found(text, clean=clean, segment=segment))
    words = [_clean_word(text[slice(*span)]) for span in _found(text, clean=True)]
    spans, start = [], 0
    for word in words:
        spans.append(_span(start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), tuple(spans)


def _check_divided(text: str) -> None:
    undivided = _UNDIVIDED.findall(text)
    if undivided and 2 * len("".join(undivided)) > sum(map(str.isalpha, text)):
        raise UserError(
            f"{undivided[0][:20]!r} is of a script whose words only a dictionary finds: give a "
            "segmentation, segment=FUNCTION from a text to its words (in a command "
            "dataset.segment=MODULE.FUNCTION), such as pythainlp.word_tokenize for Thai"
        )


def _found(text: str, *, clean: bool, segment: Segment | None = None) -> Iterable[Span]:
    """Where the words of a text stand in it, as `find_words` counts them."""
    if segment is not None:
        return segmented(text, segment)
    if clean:
        return _spans(_CLEAN, text)
    return _whole_characters(text, _spans(_COVER, text))


def segment_at(path: str) -> Segment:
    """The function at a dotted path, such as ``my_module.words``. Raises UserError for none."""
    try:
        found = pkgutil.resolve_name(path)
    except Exception as error:  # whatever an import leads to
        raise UserError(
            f"segment={path}: there is no such function ({type(error).__name__}: {error}): give "
            "MODULE.FUNCTION of a module that Python finds, as in a folder of PYTHONPATH"
        ) from error
    if not callable(found):
        raise UserError(f"segment={path}: this is no function: give MODULE.FUNCTION")
    return found  # type: ignore[no-any-return]


def check_cut(*, clean: bool, segment: Segment | None) -> None:
    """Raises UserError where two rules are to cut texts into words."""
    if clean and segment is not None:
        raise UserError(
            "segment: clean=true cuts texts into words, too, and changes them: set clean=false, or "
            "leave segment out"
        )


def segmented(text: str, segment: Segment) -> tuple[Span, ...]:
    """The spans that a user's segmentation gives of a text, without white space at their ends.

    Raises UserError for what are no spans of the text.
    """
    told = f"segment={getattr(segment, '__name__', type(segment).__name__)}"
    try:
        given = segment(text)
        if isinstance(given, str | bytes | Mapping):
            raise UserError(f"{told}: it gives {_shown(given)}, which is no list of words")
        words = list(given)
    except UserError:
        raise
    except Exception as error:  # whatever a function of the user's raises
        why = f"{type(error).__name__}: {error}"
        raise UserError(f"{told}: it gives no words of {_shown(text)} ({why})") from error
    spans: list[Span] = []
    end = 0
    for word in words:
        if isinstance(word, str):
            start = text.find(word, end)
            if not word:
                raise UserError(f"{told}: it gives an empty word {_shown(words)}: leave that out")
            if start < 0:
                raise UserError(
                    f"{told}: it gives {_shown(word)}, which is not in {_shown(text[end:])} of the "
                    "text: give words as they stand in the text, in their order, or (start, end)"
                )
            span = (start, start + len(word))
        else:
            span = _checked(word, told)
        if not end <= span[0] < span[1] <= len(text):
            raise UserError(
                f"{told}: it gives the span {span} after {end} of a text of {len(text)} "
                "characters: give spans in their order, that do not overlap"
            )
        end = span[1]
        spans += _bare(text, *span)
    return tuple(spans)


def _bare(text: str, start: int, end: int) -> Iterator[Span]:
    """A span without the white space at its ends; none where nothing is left."""
    word = text[start:end]
    if bare := word.strip():
        first = start + word.index(bare)
        yield _span(first, first + len(bare))


def _checked(span: object, told: str) -> Span:
    try:
        start, end = span  # type: ignore[misc]
        return int(start), int(end)  # type: ignore[has-type]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{told}: it gives {_shown(span)}, which is neither a word nor (start, end)"
        ) from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for match in pattern.finditer(text):
        start = match.start()
        yield from ((start + one, start + two) for one, two in _pieces(match[0]))


def _whole_characters(text: str, spans: Iterable[Span]) -> list[Span]:
    """The spans, of which none begins within what a reader takes for one character."""
    if text.isascii():
        return list(spans)
    borders = {match.start() for match in _CHARACTER.finditer(text)}
    found: list[Span] = []
    for start, end in spans:
        if start in borders or not found or found[-1][1] < start:
            found.append((start, end))
        else:
            found[-1] = (found[-1][0], end)
    return found


def _pieces(word: str) -> list[Span]:
    """The spans of the words in what stands between spaces: more than one without spaces."""
    if not _UNSPACED.search(word):
        return [(0, len(word))]
    return list(pairwise(match.start() for match in _BOUNDARY.finditer(word)))


def highlighted_words(
    raw: str, tokens: Iterable[int], *, clean: bool, segment: Segment | None = None
) -> frozenset[int]:
    """Word positions of highlighted ``raw.split()`` positions (0-based).

    A token stands for the words that it shares a character with, and of these for those that are
    not mere punctuation, or for all when it has only such. segment: see `find_words`, whose words
    these are. Raises IndexError for a token that the text does not have.
    """
    raw = raw.strip()
    words = list(_found(raw, clean=clean, segment=segment))
    spans = [match.span() for match in _TOKEN.finditer(raw)]
    found: set[int] = set()
    for token in tokens:
        if not 0 <= token < len(spans):
            raise IndexError(f"highlighted word {token} of a text of {len(spans)} words")
        first, last = spans[token]
        inside = [i for i, (start, end) in enumerate(words) if start < last and first < end]
        named = [
            i
            for i in inside
            if any(map(str.isalnum, raw[max(first, words[i][0]) : min(last, words[i][1])]))
        ]
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
