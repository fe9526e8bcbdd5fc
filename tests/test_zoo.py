"""Many families of models are tried before they are trusted, each against its own direct call."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
import zoo
from conftest import make_example
from torch import Tensor

from gmask_pl.api import NotExplained, PairExplainer
from gmask_pl.explainers.random import Random
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.model_check import PREFERENCE, check
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import ModelInput, PairExample, UserError

PAIRS = [
    make_example("one", "a dog runs", "the dog never sleeps outside"),
    make_example("two", "a man plays the guitar", "she reads books"),
    make_example("three", "children", "women"),
]


def asked(model: BertPairClassifier, example: PairExample, **changes: Tensor) -> Tensor:
    """As the family's own documentation has it."""
    cut = {"truncation": True, "max_length": model.max_length}
    tokens = model.tokenizer(example.text1, example.text2, return_tensors="pt", **cut)
    with torch.no_grad():
        return model.network(**tokens | changes).logits[0]


@pytest.mark.parametrize("name", zoo.FAMILIES)
def test_what_is_right_for_a_family_is_told(name: str) -> None:
    family, model = zoo.FAMILIES[name], zoo.made(name)
    verdict = check(model)
    assert " ".join(verdict.right()) == family.right
    assert " ".join(verdict.right(gradients=True)) == family.gradients
    assert verdict.attention.ok == family.attention, verdict.attention.reason
    assert (verdict.together, verdict.outputs) == (family.together, "softmax")
    batch = model.encoder("word")(PAIRS)
    expected = torch.stack([asked(model, example) for example in PAIRS])
    effect = float((expected - expected.roll(1, 0)).abs().max())
    assert effect > 1e-3  # it has opinions
    close = {"atol": 1e-3 * effect + 1e-5, "rtol": 1e-5}
    keep = batch.word_valid.clone()
    keep[:, 1::2] = False
    for removal in verdict.right():
        masked = MaskedModel(model, batch, removal, token_budget=4096)
        found = masked.logits(torch.stack([batch.word_valid, keep], 1))
        torch.testing.assert_close(found[:, 0], expected, **close)
        if removal == "mask":
            torch.testing.assert_close(found[:, 1], masked_naively(model, keep), **close)
    for removal in set(PREFERENCE) - set(verdict.right()):
        with pytest.raises(UserError, match=rf"metric\.removal={removal}.*{verdict.right()[0]}"):
            verdict.refuse(name, removal, setting="metric.removal")


def masked_naively(model: BertPairClassifier, keep: Tensor) -> Tensor:
    """With the mask token in place of every token of the words that are not kept."""
    answers = []
    for row, example in enumerate(PAIRS):
        tokens = model.tokenizer(example.text1, example.text2, return_tensors="pt")
        ids = tokens["input_ids"].clone()
        for place in range(ids.shape[1]):
            side, span = tokens.sequence_ids(0)[place], tokens.encodings[0].offsets[place]
            if side is None:
                continue
            spans = (example.spans1, example.spans2)[side]
            first = len(example.spans1) * side
            words = [i for i, (a, b) in enumerate(spans) if a < span[1] and span[0] < b]
            if words and not keep[row, first + words[0]]:
                ids[0, place] = model.tokenizer.mask_token_id
        answers.append(asked(model, example, input_ids=ids))
    return torch.stack(answers)


def test_docs_and_truth_are_one_table() -> None:
    text = zoo.DOCS.read_text("utf-8").split(zoo.BEGIN)[1].split(zoo.END)[0]
    rows = [re.split(r" *\| *", line)[1:-1] for line in text.strip().splitlines()[2:]]
    told = {
        row[0]: (
            " ".join(r for r, cell in zip(PREFERENCE, row[1:5], strict=True) if cell != "no"),
            *row[5:],
        )
        for row in rows
    }
    assert told == {
        name: (
            family.right,
            family.gradients or "no",
            "yes" if family.attention else "no",
            zoo.BATCHES[family.together],
        )
        for name, family in zoo.FAMILIES.items()
    }


def altered(name: str, **settings: Any) -> BertPairClassifier:
    """A family with other settings of its configuration."""
    family = replace(zoo.FAMILIES[name], settings=zoo.FAMILIES[name].settings | settings)
    with mock.patch.dict(zoo.FAMILIES, {name: family}):
        return zoo.made(name)


def test_a_network_that_remembers_what_it_was_asked_is_refused() -> None:
    """Sparse attention that is switched off for good by the first short text."""
    settings = {"attention_type": "block_sparse", "block_size": 2, "num_random_blocks": 1}
    with pytest.raises(UserError, match="another answer"):
        check(altered("big_bird", **settings))


def test_a_network_that_does_not_read_is_refused() -> None:
    model = zoo.made("bert")
    model.network.classifier.weight.zero_()
    with pytest.raises(UserError, match="the same answer to every pair"):
        check(model)


def test_the_table_of_positions_bounds_the_input() -> None:
    """Whatever the setting and the tokenizer say; RoBERTa's loses the rows up to its padding."""
    for name, room in (("bert", 24), ("roberta", 22), ("gpt2", 24), ("bart", 24)):
        model = altered(name, max_position_embeddings=24, n_positions=24)
        assert model.longest == room, name
        assert check(model).longest == room
        long = make_example("long", " ".join(zoo.WORDS), "a dog runs")
        batch = model.encoder("word")([long])
        assert batch.token_ids.shape == (1, room)
        assert bool(batch.truncated.all())
        assert bool(model.read(batch).isfinite().all())


def network_of(name: str, **settings: Any) -> BertPairClassifier:
    """A family's model with other settings."""
    family = replace(zoo.FAMILIES[name], settings=zoo.FAMILIES[name].settings | settings)
    with mock.patch.dict(zoo.FAMILIES, {name: family}):
        return zoo.made(name)


def uneven() -> list[PairExample]:
    """Pairs of all lengths from 2 words to 12, and a long one."""
    sides = [(n // 2, n - n // 2) for n in range(2, 13)] + [(12, 10)]
    texts = [[" ".join(zoo.WORDS[i : i + n]) for i, n in enumerate(size)] for size in sides]
    return [make_example(f"{i}", *pair) for i, pair in enumerate(texts)]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("funnel", {"block_sizes": [1, 1, 1]}),
        ("funnel", {"block_sizes": [1, 1, 1], "separate_cls": False}),
        (
            "eurobert",
            {
                "max_position_embeddings": 64,
                "rope_parameters": {
                    "rope_type": "longrope",
                    "rope_theta": 10000.0,
                    "short_factor": [1.0] * 4,
                    "long_factor": [4.0] * 4,
                    "original_max_position_embeddings": 16,
                    "factor": 4.0,
                },
            },
        ),
    ],
)
def test_lengths_that_disturb_one_another_are_found(name: str, settings: dict[str, Any]) -> None:
    model, examples = network_of(name, **settings), uneven()
    assert check(model).together != "any"
    masked = MaskedModel(model, model.encoder("word")(examples), "pad", token_budget=4096)
    expected = torch.stack([asked(model, example) for example in examples]).softmax(-1)
    torch.testing.assert_close(masked.probabilities, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "token"),
    [("roberta", "<pad>"), ("bart", "</s>"), ("gpt2", "<|pad|>"), ("esm", "<pad>")],
)
def test_a_text_with_a_token_that_a_network_counts_by_fails_alone(name: str, token: str) -> None:
    model = zoo.made(name)
    texts = [("a dog runs", f"women sleep {token}"), ("a dog runs", "women sleep")]
    removal = check(model).right()[0]
    with pytest.raises(NotExplained, match=f"pair 1: its text holds {re.escape(token)}") as raised:
        PairExplainer(model, method=Random(removal=removal)).many(texts)
    nothing, found = raised.value.explanations
    assert nothing is None
    assert found is not None
    expected = asked(model, make_example("two", *texts[1])).softmax(-1)
    torch.testing.assert_close(torch.tensor(found.probabilities), expected, atol=1e-5, rtol=1e-4)


def test_a_token_that_a_network_counts_nothing_by_may_be_in_a_text() -> None:
    model, pair = zoo.made("bert"), make_example("one", "a dog [PAD] runs", "[SEP] women [PAD]")
    masked = MaskedModel(model, model.encoder("word")([pair]), "pad", token_budget=4096)
    expected = asked(model, pair).softmax(-1)
    torch.testing.assert_close(masked.probabilities[0], expected, atol=1e-5, rtol=1e-4)


def test_hooks_that_change_answers_are_tried_with() -> None:
    model = zoo.made("bert")
    first = model.network.bert.encoder.layer[0]
    with first.register_forward_hook(lambda module, inputs, out: out + 3 * out.mean(1, True)):
        model._reading = None
        assert check(model).together != "any"
        masked = MaskedModel(model, model.encoder("word")(PAIRS), "mask", token_budget=4096)
        expected = torch.stack([asked(model, example) for example in PAIRS]).softmax(-1)
    torch.testing.assert_close(masked.probabilities, expected, atol=1e-5, rtol=1e-4)


def test_a_forward_that_somebody_has_replaced_stays_and_is_asked() -> None:
    model = zoo.made("bert")
    last = model.network.bert.encoder.layer[-1]
    usual = last.forward
    last.forward = lambda *args, **named: 2 * usual(*args, **named)  # type: ignore[method-assign]
    patched = last.forward
    masked = MaskedModel(model, model.encoder("word")(PAIRS), "pad", token_budget=4096)
    assert last.forward is patched
    expected = torch.stack([asked(model, example) for example in PAIRS]).softmax(-1)
    torch.testing.assert_close(masked.probabilities, expected, atol=1e-5, rtol=1e-4)


def test_pairs_longer_than_a_window_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """To leave hidden tokens out moves others into a window: a short trial does not see it."""
    model = altered("modernbert", local_attention=128)
    assert model.window == 0
    assert model.skips_hidden
    assert zoo.made("modernbert").window == 8
    assert not zoo.made("modernbert").skips_hidden
    narrow = zoo.made("modernbert")
    narrow._window = 0  # as if nobody had looked
    narrow.reading()
    narrow._reading = replace(narrow.reading(), skips_hidden=True)
    verdict = check(narrow)
    assert not verdict.removals["pad"].ok
    assert verdict.removals["delete"].ok


@pytest.mark.parametrize("part", ["whole", "leak", "naive"])
def test_each_fault_is_found(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose own call is right, and whose way of being asked is wrong in one thing."""
    model = zoo.made("bert")
    assert check(model).removals["mask"].ok
    honest = MaskedModel._hard_input

    def wrong(self: MaskedModel, rows: Tensor, token_keep: Tensor) -> ModelInput:
        inputs = honest(self, rows, token_keep)
        if part == "whole":  # padding is read
            return replace(inputs, attention=torch.ones_like(inputs.attention))
        if part == "leak":  # nothing is removed
            return self._whole_input(rows)
        return replace(inputs, segment=1 - inputs.segment)  # sides change places

    monkeypatch.setattr(MaskedModel, "_hard_input", wrong)
    trial = check(model).removals["mask"]
    assert not trial.ok
    assert getattr(trial, part) > 1e-3


def test_gradients_of_half_an_attention_that_is_none_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = zoo.made("bert")
    assert model.reading().softens
    honest = type(model)._attention
    monkeypatch.setattr(
        type(model), "_attention", lambda self, attention: honest(self, 1.0 * (attention > 0))
    )
    verdict = check(model)
    assert verdict.removals["pad"].ok
    assert not verdict.gradients["pad"].ok
    assert verdict.gradients["mask"].ok


def test_models_of_our_own_pass(classifier: PairClassifier) -> None:
    verdict = check(classifier)
    assert verdict.right() == list(PREFERENCE)
    assert verdict.right(gradients=True) == ["pad", "mask", "zero"]
    assert verdict.attention.ok
    assert verdict.together == "any"


def test_a_verdict_names_what_is_right() -> None:
    verdict = check(zoo.made("bart"))
    with pytest.raises(UserError, match=r"explainer\.removal=mask \w+ explainer\.removal=delete"):
        verdict.refuse("Bart", "zero", setting="explainer.removal")
    with pytest.raises(UserError, match="an explainer that needs no gradients"):
        verdict.refuse("Bart", "mask", setting="explainer.removal", gradients=True)
    verdict.refuse("Bart", "mask", setting="explainer.removal")


class Tempered(BertPairClassifier):
    """Makes other answers of its network's."""

    def forward(self, inputs: ModelInput) -> Tensor:
        return super().forward(inputs) / 3


def test_a_class_of_ones_own_is_held_against_itself() -> None:
    model = zoo.made("bert")
    model.__class__ = Tempered
    assert check(model).right() == list(PREFERENCE)
    batch = model.encoder("word")(PAIRS[:1])
    torch.testing.assert_close(model.read(batch)[0], asked(model, PAIRS[0]) / 3)
