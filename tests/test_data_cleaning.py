"""Words, cleaning (Appendix B) and the placing of highlights."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from gmask_pl.data.cleaning import Segment, find_words, highlighted_words
from gmask_pl.types import UserError

# Weighted towards what cuts words: punctuation, quotes, digits, marks, odd white space.
texts = st.text(
    st.one_of(
        st.sampled_from("aB1'’.,-/&:;!?$%£<>\"()[]_ \t\u00a0\u0301é😀है"),
        st.characters(codec="utf-8"),
    ),
    max_size=40,
)

steady = settings(derandomize=True, deadline=None, database=None)


def words(text: str, *, clean: bool) -> list[str]:
    found, spans = find_words(text, clean=clean)
    return [found[start:end] for start, end in spans]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Two   WOMEN\tare here.\n", "two women are here ."),
        ("Don't stop: it's Bill’s!", "don't stop : it's bill's !"),
        ("A t-shirt -- well-known - (really)", "a t-shirt well-known really"),
        ("It rose 2.5% to $10,000.50, at 10:30am.", "it rose 2.5 % to $ 10,000.50 , at 10:30am ."),
        ("He ran.Then he sat", "he ran . then he sat"),
        ("The U.S. and AT&T, 24/7", "the u.s . and at&t , 24/7"),
        ("and/or", "and or"),
        ("What???? No... way", "what ? no . way"),
        ("Denmark 's laws do n't", "denmark 's laws do n't"),
        ("the 'soft' one", "the soft one"),
        ("Café naïve 我每天 पानी", "café naïve 我 每 天 पानी"),
        ("<b>x_1</b> 😀 #tag @me [math]", "b x 1 b tag me math"),
        ("cafe\u0301", "caf\u00e9"),
        ("😀 <>", ""),
    ],
)
def test_clean_text_holds_words_and_stops_only(text: str, expected: str) -> None:
    found, spans = find_words(text, clean=True)
    assert found == expected
    assert [found[start:end] for start, end in spans] == expected.split()


def test_uncleaned_text_is_kept_and_everything_visible_is_in_a_word() -> None:
    text, spans = find_words("  <script>Hi, 😀</script>  ok... ", clean=False)
    assert text == "<script>Hi, 😀</script>  ok..."
    assert [text[start:end] for start, end in spans] == [
        *("<", "script", ">", "Hi", ",", "😀</", "script", ">", "ok", "...")
    ]


@steady
@given(texts, st.booleans())
def test_spans_are_in_order_disjoint_and_not_blank(text: str, clean: bool) -> None:
    found, spans = find_words(text, clean=clean)
    ends = [0]
    for start, end in spans:
        assert ends[-1] <= start < end <= len(found)
        assert not any(map(str.isspace, found[start:end]))
        ends.append(end)


@steady
@given(texts)
def test_uncleaned_spans_cover_every_visible_character(text: str) -> None:
    assert "".join(words(text, clean=False)) == "".join(text.split())


@steady
@given(texts)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = find_words(text, clean=True)
    assert find_words(once[0], clean=True) == once
    assert once[0].split(" ") == (words(text, clean=True) or [""])


@steady
@given(texts, st.booleans())
def test_all_tokens_highlighted_is_every_word_but_punctuation_next_to_words(
    text: str, clean: bool
) -> None:
    found = words(text, clean=clean)
    every = highlighted_words(text, range(len(text.split())), clean=clean)
    assert every <= set(range(len(found)))
    assert every >= {i for i, word in enumerate(found) if any(map(str.isalnum, word))}


def test_highlighted_token_stands_for_its_words() -> None:
    raw = 'He said: "stop!"  - and/or ... 😀 left.'
    assert words(raw, clean=True) == ["he", "said", ":", "stop", "!", "and", "or", ".", "left", "."]

    def marked(token: int) -> list[str]:
        positions = highlighted_words(raw, [token], clean=True)
        return [words(raw, clean=True)[i] for i in sorted(positions)]

    assert marked(1) == ["said"]
    assert marked(2) == ["stop"]
    assert marked(3) == []  # a dash is cleaned away
    assert marked(4) == ["and", "or"]
    assert marked(5) == ["."]
    assert marked(6) == []
    assert marked(7) == ["left"]
    assert highlighted_words(raw, [0, 7], clean=True) == {0, 8}


def test_highlights_of_uncleaned_text_count_its_own_words() -> None:
    raw = ' "stop!" 😀 left.'
    assert words(raw, clean=False) == ['"', "stop", "!", '"', "😀", "left", "."]
    assert highlighted_words(raw, [0], clean=False) == {1}
    assert highlighted_words(raw, [1, 2], clean=False) == {4, 5}


@pytest.mark.parametrize("token", [-1, 2])
def test_highlight_beyond_the_text_is_an_error(token: int) -> None:
    with pytest.raises(IndexError, match=f"word {token} of a text of 2 words"):
        highlighted_words("two words", [token], clean=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我喜欢音乐，你呢？", "我 喜 欢 音 乐 ， 你 呢 ？"),
        ("私はコンピュータを使う。", "私 は コンピュータ を 使 う 。"),
        ("iPhone手机 don't", "iPhone 手 机 don't"),
        ("한국어 좋아요!", "한국어 좋아요 !"),
        ("पानी पीता है।", "पानी पीता है ।"),
        ("السلام عليكم", "السلام عليكم"),
        ("Donaudampfschifffahrt fährt.", "Donaudampfschifffahrt fährt ."),
        (
            "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL} family",
            "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL} family",
        ),
        ("a temple, วัดพระแก้ว, is here", "a temple , วัดพระแก้ว , is here"),
    ],
)
def test_words_of_every_script(text: str, expected: str) -> None:
    assert words(text, clean=False) == expected.split()


def test_a_script_that_needs_a_dictionary_says_so() -> None:
    for text in ("สวัสดีครับ", "ສະບາຍດີ ok", "မင်္ဂလာပါ"):
        with pytest.raises(UserError, match="is of a script whose words only a dictionary finds"):
            find_words(text, clean=False)


@pytest.mark.parametrize(
    "segment",
    [
        lambda text: ["สวัสดี", "ครับ"],
        lambda text: [(0, 6), (6, 10)],
        lambda text: [["0", "6"], (6.0, 10.0)],
        lambda text: ["สวัสดี", "", "ครับ"][::2],
    ],
)
def test_a_segmentation_of_ones_own(segment: Segment) -> None:
    text, spans = find_words("  สวัสดีครับ ", clean=False, segment=segment)
    assert [text[start:end] for start, end in spans] == ["สวัสดี", "ครับ"]


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        (lambda text: ["b", "a"], "it gives 'a', which is not in ' c' of the text"),
        (lambda text: ["a", ""], r"it gives an empty word \['a', ''\]: leave that out"),
        (lambda text: "a b c", "it gives 'a b c', which is no list of words"),
        (lambda text: None, "it gives no words of 'a b c' .TypeError: "),
        (lambda text: [text[9]], "segment=<lambda>: it gives no words of .*IndexError"),
        (lambda text: [(0, 1), (0, 2)], r"it gives the span \(0, 2\) after 1"),
        (lambda text: [(0, 99)], r"it gives the span \(0, 99\) after 0 of a text of 5"),
        (lambda text: [(1, 1)], r"it gives the span \(1, 1\)"),
        (lambda text: [None], "it gives None, which is neither a word nor"),
        (lambda text: [7], "it gives 7, which is neither a word nor"),
    ],
)
def test_what_is_no_segmentation_is_told(segment: Segment, said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_words("a b c", clean=False, segment=segment)


@pytest.mark.parametrize("space", [c for c in map(chr, range(0x3001)) if c.isspace()])
def test_white_space_is_no_word_of_a_script_without_spaces(space: str) -> None:
    text = f"{space}我喜{space}カ{space} 。{space}"
    for clean in (True, False):
        assert words(text, clean=clean)[:3] == ["我", "喜", "カ"]
        assert not any(space in word for word in words(text, clean=clean))
    _, spans = find_words(text, clean=False, segment=lambda text: list(text))
    assert len(spans) == 4


@pytest.mark.parametrize(
    ("raw", "token", "segment", "expected"),
    [
        # A joiner would be a word, but is of the character before it.
        ("x 한\u200d국 y", 1, None, ["한\u200d", "국"]),
        ("x 한\u200d국 y", 2, None, ["y"]),
        ("  new york is old", 1, lambda text: ["new york", "is", "old"], ["new york"]),
        ("  new york is old", 2, lambda text: ["new york", "is", "old"], ["is"]),
        ("我喜欢 音乐", 0, lambda text: ["我", "喜欢", "音乐"], ["我", "喜欢"]),
        ("我喜欢 音乐", 1, lambda text: ["我", "喜欢 音", "乐"], ["喜欢 音", "乐"]),
    ],
)
def test_highlights_follow_the_words_whatever_cuts_them(
    raw: str, token: int, segment: Segment | None, expected: list[str]
) -> None:
    text, spans = find_words(raw, clean=False, segment=segment)
    marked = highlighted_words(raw, [token], clean=False, segment=segment)
    assert [text[slice(*spans[i])] for i in sorted(marked)] == expected


@steady
@given(st.text(st.sampled_from("我喜aé\u0301 は。カー-'1한ไ👨\u200d"), max_size=20))
def test_no_word_is_cut_within_a_character(text: str) -> None:
    try:
        found, spans = find_words(text, clean=False)
    except UserError:
        return
    borders = {m.start() for m in regex.finditer(r"\X", found)} | {len(found)}
    borders |= {place + 1 for place, c in enumerate(found) if c.isspace()}  # an accent on a space
    assert all(start in borders and end in borders for start, end in spans)
    covered = {place for span in spans for place in range(*span)}
    assert covered == {i for i, c in enumerate(found) if not c.isspace()}
