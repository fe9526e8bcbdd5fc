"""Encoders of other families: what may be left out, and what has a gradient, is found by trying."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from conftest import LABELS, OPTIMIZER, TEXTS
from transformers import AutoConfig, AutoModelForSequenceClassification

from gmask_pl.masking import MaskedModel
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.bert_tiny import train_tokenizer
from gmask_pl.types import ModelInput, PairExample, UserError

RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
# family: its settings; whether hidden tokens may be left out; whether attention can be soft
FAMILIES: dict[str, tuple[dict[str, Any], bool, bool]] = {
    "bert": ({}, True, True),
    "roberta": ({}, True, True),
    "mpnet": ({}, False, True),
    "deberta-v2": (RELATIVE, False, False),
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
        **FAMILIES[family][0],
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
    assert model.skips_hidden == FAMILIES[family][1]
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
    if FAMILIES[family][2]:
        loss, _ = masked.cross_entropy_gradient(keep)
        torch.testing.assert_close(loss, masked.cross_entropy(keep), atol=1e-4, rtol=1e-4)
    else:
        with pytest.raises(UserError, match="removal=zero"):
            masked.cross_entropy_gradient(keep)
