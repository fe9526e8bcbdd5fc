"""Sentences, and units of each side of their own."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from conftest import untrained
from hypothesis import given
from hypothesis import strategies as st
from test_question import head

from gmask_pl.api import PairExplainer
from gmask_pl.data.cleaning import Segment
from gmask_pl.data.in_memory import Given, texts_of
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.units import encoder_of, sentence_spans
from gmask_pl.types import UserError


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A man sleeps. A dog runs!", ["A man sleeps.", "A dog runs!"]),
        ("no stop at the end", ["no stop at the end"]),
        (
            "Dr. Smith met Mr. J. R. Tolkien. He left.",
            ["Dr. Smith met Mr. J. R. Tolkien.", "He left."],
        ),
        ("It rose 2.5 %. See e.g. Fig. 3. Done.", ["It rose 2.5 %.", "See e.g. Fig. 3.", "Done."]),
        (
            'He said "Stop!" Then (really?) he left.',
            ['He said "Stop!"', "Then (really?)", "he left."],
        ),
        ("What?! No... yes", ["What?!", "No...", "yes"]),
        ("a title\n\nA text. ", ["a title", "A text."]),
        ("one line\nstill the same", ["one line\nstill the same"]),
        ("我喜欢音乐。你呢？「是！」他说", ["我喜欢音乐。", "你呢？", "「是！」", "他说"]),
        ("यह एक है। वह दो है।", ["यह एक है।", "वह दो है।"]),
        ("هل تأتي؟ نعم. لا۔ كذا", ["هل تأتي؟", "نعم.", "لا۔", "كذا"]),
        ("「はい。」そうですか？！（本当？）", ["「はい。」", "そうですか？！", "（本当？）"]),
        ("他说……我不知道。“好。”他走了。", ["他说……我不知道。", "“好。”", "他走了。"]),
        ("ｱｲｳ｡ｴｵ｡ ဒါ။ဟုတ်။ እሱ።እሷ።", ["ｱｲｳ｡", "ｴｵ｡", "ဒါ။", "ဟုတ်။", "እሱ።", "እሷ።"]),
        ("डॉ. शर्मा आए।वे गए॥ क्या? हाँ", ["डॉ. शर्मा आए।", "वे गए॥", "क्या?", "हाँ"]),
        (
            "„Ja.“ Am 3. Mai z. B. kam er. Nr. 5 bzw. 6.",
            ["„Ja.“", "Am 3. Mai z. B. kam er.", "Nr. 5 bzw. 6."],
        ),
        ("No. 5 won. He said no. She left.", ["No. 5 won.", "He said no.", "She left."]),
        ("mr . smith saw the u.s . he ran .", ["mr . smith saw the u.s . he ran ."]),
        ("dr . smith left . he ran .", ["dr . smith left .", "he ran ."]),
        ("1. First\n2. Second", ["1. First\n2. Second"]),
        ("It is 3.5 at example.com. Now.", ["It is 3.5 at example.com.", "Now."]),
        ("the u.s. and the u.k. agree", ["the u.s. and the u.k. agree"]),
        ("", []),
        (" . ", ["."]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(st.sampled_from("aB.!? \n\"')1。！中\x1e"), max_size=30))
def test_every_visible_character_is_in_one_sentence(text: str) -> None:
    spans = sentence_spans(text)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    covered = {place for span in spans for place in range(*span)}
    assert {i for i, c in enumerate(text) if not c.isspace()} <= covered


@pytest.mark.parametrize("text", [". " * 30_000, ".)" * 30_000, "." * 30_000 + ")" * 30_000])
def test_the_time_for_sentences_does_not_explode(text: str) -> None:
    assert sentence_spans(text + "x")


PASSAGE = "two dogs run. she sleeps here! a man plays the guitar"
CLAIM = "the animals are running outside today"


@pytest.mark.parametrize("kind", ["bert_tiny", "dattn"])
def test_a_unit_goes_with_all_its_tokens(kind: str) -> None:
    """Without a sentence, the model says what it says without all of its words."""
    model = untrained(kind)
    examples = Given(texts_of([(PASSAGE, CLAIM), ("she sleeps", CLAIM)]), model.labels, clean=False)
    by_word = model.encoder("word")(examples.pairs)
    batch = encoder_of(model, ["sentence", "word"])(examples.pairs)
    assert batch.words1 == (
        ("two dogs run.", "she sleeps here!", "a man plays the guitar"),
        ("she sleeps",),
    )
    assert batch.words2 == (tuple(CLAIM.split()),) * 2
    assert batch.word_side[0].tolist() == [0] * 3 + [1] * 6
    assert batch.keys[0] != by_word.keys[0]
    units = MaskedModel(model, batch, "pad", token_budget=512)
    words = MaskedModel(model, by_word, "pad", token_budget=512)
    keep = batch.word_valid[:, None].clone()
    keep[0, 0, 1] = keep[1, 0, 0] = False
    without = by_word.word_valid[:, None].clone()
    without[0, 0, 4:8] = without[1, 0, :2] = False
    torch.testing.assert_close(units.logits(keep), words.logits(without))


def test_a_passage_is_explained_by_its_sentences() -> None:
    explain = PairExplainer(head(3), method="occlusion", unit=["sentence", "word"])
    found = explain(PASSAGE, CLAIM)
    assert len(found.scores) == 3 + 6
    both = PairExplainer(head(3), method="gmask_two_sided", unit="sentence", budget=60)
    assert both(PASSAGE, CLAIM).words2 == (CLAIM,)
    compared = explain.compare(CLAIM, PASSAGE, "she sleeps. nobody runs", target="L0")
    assert compared.words1 == (CLAIM,)
    assert compared.words2[:1] == ("two",)
    other = PairExplainer(head(3), method="occlusion", unit="sentence")
    assert other.compare(CLAIM, PASSAGE, "she sleeps. nobody runs", target="L0").words2 == (
        *("two dogs run.", "she sleeps here!", "a man plays the guitar"),
        *("she sleeps.", "nobody runs"),
    )


@pytest.mark.parametrize(
    ("segment", "expected"),
    [
        (lambda text: re.findall(r"\s*\S+\s*", text), ("so be.", "it is!", "ok")),
        (lambda text: re.split(r"(?<=[.!])", text), ("so be.", "it is!", "ok")),
        (lambda text: [text], ("so be. it is! ok",)),
        (lambda text: [(0, 9), (9, len(text))], ("so be.", "it is! ok")),
        (lambda text: ["it is! "], ("so be.", "it is!", "ok")),
    ],
)
def test_sentences_hold_the_words_of_any_segmentation(
    segment: Segment, expected: tuple[str, ...]
) -> None:
    model = untrained("bert_tiny")
    text = "so be. it is! ok"
    (example,) = Given([(text, text)], model.labels, clean=False, segment=segment).pairs
    assert not any(word[0].isspace() or word[-1].isspace() for word in example.words1)
    batch = encoder_of(model, ["sentence", "word"])([example])
    assert batch.words1 == (expected,)
    own = batch.word_place[0][batch.word_side[0] == 0].tolist()
    read = [place for place in own if place >= 0]
    assert read == ([1] if len(example.spans1) == 1 < len(expected) else [*range(len(expected))])


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("wrod", "unit='wrod': choose one of word, token, sentence"),
        (["word"], "or one for each side"),
        (["word", "token"], "tokens are counted of both sides"),
        (None, "unit=null: give a text or a list"),
        (["word", "word", "word"], "or one for each side"),
    ],
)
def test_what_is_no_unit_is_told(unit: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        PairExplainer(head(3), unit=unit)
