"""Encoders of other families: what may be left out, and what has a gradient, is found by trying."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from conftest import LABELS, OPTIMIZER, TEXTS
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification

from gmask_pl.explainers.iba import layer_named, replaced
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.bert_tiny import train_tokenizer
from gmask_pl.types import ModelInput, PairExample, UserError

RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}


@dataclass(frozen=True)
class Family:
    """Its settings; whether hidden tokens may be left out, attention can be soft, and the last
    layer be computed for the first token alone."""

    settings: dict[str, Any]
    skips: bool
    softens: bool
    first: bool


FAMILIES = {
    "bert": Family({}, True, True, True),
    "roberta": Family({}, True, True, True),
    "electra": Family({"embedding_size": 16}, True, True, True),
    "mpnet": Family({}, False, True, False),
    "deberta-v2": Family(RELATIVE, False, False, False),
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(family: str) -> BertPairClassifier:
    torch.manual_seed(0)
    words = Counter(w for pair in TEXTS for text in pair for w in text.split())
    tokenizer = train_tokenizer(words, 60, 64)
    config = AutoConfig.for_model(
        family,
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=80,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=3,
        **FAMILIES[family].settings,
    )
    network = AutoModelForSequenceClassification.from_config(config)
    made = BertPairClassifier(
        labels=LABELS, network=network, tokenizer=tokenizer, max_length=64, **OPTIMIZER
    )
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5.0)  # large enough to have opinions
    made.requires_grad_(False)
    return made.eval()


def test_padding_a_word_hides_its_tokens(
    family: str, model: BertPairClassifier, examples: list[PairExample]
) -> None:
    """Against the whole row with attention switched off, whether tokens are left out or not."""
    masked = MaskedModel(model, model.encoder("word")(examples), "pad", token_budget=64)
    batch = masked.batch
    assert model.skips_hidden == FAMILIES[family].skips
    keep = torch.rand(3, 4, batch.word_valid.shape[1]) > 0.5
    found = masked.logits(keep)
    for row, mask in [(row, mask) for row in range(3) for mask in range(4)]:
        n = int(batch.attention[row].sum())
        words = batch.word_of_token[row, :n].tolist()
        seen = torch.tensor([[word < 0 or bool(keep[row, mask, word]) for word in words]])
        one = slice(row, row + 1)
        inputs = ModelInput(
            batch.token_ids[one, :n], seen, batch.segment[one, :n], torch.arange(n)[None]
        )
        torch.testing.assert_close(found[row, mask], model(inputs)[0], atol=1e-4, rtol=1e-4)


def test_a_gradient_is_right_or_refused(
    family: str, model: BertPairClassifier, examples: list[PairExample]
) -> None:
    batch = model.encoder("word")(examples)
    keep = torch.rand(3, 4, batch.word_valid.shape[1]) > 0.5
    masked = MaskedModel(model, batch, "pad", token_budget=64)
    if FAMILIES[family].softens:
        loss, _ = masked.loss_gradient(keep)
        torch.testing.assert_close(loss, masked.loss(keep), atol=1e-4, rtol=1e-4)
    else:
        with pytest.raises(UserError, match="removal=zero"):
            masked.loss_gradient(keep)


def partly_hidden(model: BertPairClassifier, examples: list[PairExample]) -> ModelInput:
    batch = model.encoder("word")(examples)
    positions = torch.arange(batch.token_ids.shape[1]).expand_as(batch.token_ids)
    seen = batch.attention & (positions % 4 != 2)
    return ModelInput(batch.token_ids, seen, batch.segment, positions)


def test_the_last_layer_is_computed_for_the_first_token_alone(
    family: str, model: BertPairClassifier, examples: list[PairExample]
) -> None:
    """And the answers, and their gradients, are those of the network as it is."""
    inputs = partly_hidden(model, examples)
    inner = [m for m in model.network.modules() if getattr(m, "out_features", 0) == 32][-1]
    project, lengths = inner.forward, []

    def counted(hidden: Tensor) -> Tensor:  # a hook would be seen, and ask for every token
        lengths.append(hidden.shape[1])
        return project(hidden)

    inner.forward = counted
    answers = model(inputs)
    assert (lengths[-1] == 1) == FAMILIES[family].first
    every = replace(model.reading(), first_token=False)

    def in_full(inputs: ModelInput) -> Tensor:
        return model._logits(inputs, every)

    torch.testing.assert_close(answers, in_full(inputs), atol=1e-6, rtol=1e-5)
    assert lengths[-1] == inputs.token_ids.shape[1]  # the network is as it was
    if FAMILIES[family].softens:
        soft = [inputs.attention.float().mul(0.5).requires_grad_() for _ in range(2)]
        for forward, attention in zip((model, in_full), soft, strict=True):
            forward(replace(inputs, attention=attention)).sum().backward()
        torch.testing.assert_close(soft[0].grad, soft[1].grad, atol=1e-5, rtol=1e-4)


def test_who_watches_the_last_layer_sees_every_token(
    model: BertPairClassifier, examples: list[PairExample]
) -> None:
    inputs = partly_hidden(model, examples)
    shapes: list[tuple[int, ...]] = []
    model.reading()  # found before anybody watches

    def watch(hidden: Tensor) -> Tensor:
        shapes.append(tuple(hidden.shape))
        return hidden

    with replaced(layer_named(model, -1), watch):
        model(inputs)
    assert shapes == [(*inputs.token_ids.shape, 16)]


def test_a_head_that_reads_every_token_gets_them(
    model: BertPairClassifier, examples: list[PairExample]
) -> None:
    inputs = partly_hidden(model, examples)
    base = model.network.base_model
    inner = base.forward

    def averaged(*args: Any, **named: Any) -> Any:
        output = inner(*args, **named)
        mean = output.last_hidden_state.mean(1, keepdim=True)
        output.last_hidden_state = mean.expand_as(output.last_hidden_state)
        if "pooler_output" in output:
            output.pooler_output = mean[:, 0]
        return output

    base.forward = averaged
    assert not model.reading().first_token
    torch.testing.assert_close(model(inputs), model._logits(inputs, model.reading()))
