"""Attention as explanation: whose it is, and that reading it changes nothing."""

from __future__ import annotations

import pytest
import torch
from test_imask import Both

from gmask_pl.explainers.attention import Attention
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import PairBatch, PairExample, UserError


def bound(
    model: PairClassifier, examples: list[PairExample], removal: str = "pad", budget: int = 64
) -> MaskedModel:
    return MaskedModel(model, model.encoder("word")(examples), removal, token_budget=budget)


def bert_by_hand(model: BertPairClassifier, batch: PairBatch, layer: int) -> torch.Tensor:
    """softmax(q k / sqrt(d)) of the layer's own projections, from the first token."""
    network = model.network.base_model
    with torch.no_grad():
        states = network(
            input_ids=batch.token_ids, token_type_ids=batch.segment, output_hidden_states=True
        ).hidden_states[layer]
        attention = network.encoder.layer[layer].attention.self
        heads, size = attention.num_attention_heads, attention.attention_head_size
        q = attention.query(states)[0, 0].view(heads, size)
        k = attention.key(states)[0].view(-1, heads, size)
        weights = (torch.einsum("hd,lhd->hl", q, k) / size**0.5).softmax(-1)
    return weights.mean(0)


def dattn_by_hand(model: DecomposableAttention, batch: PairBatch) -> torch.Tensor:
    """The softmax of each word over the other side, averaged over the words that pay it."""
    with torch.no_grad():
        features = model.attend(model.project(model.embedding(batch.token_ids[0])))
    first = int((batch.segment[0] == 0).sum())
    scores = features[:first] @ features[first:].T
    return torch.cat([scores.softmax(0).mean(1), scores.softmax(1).mean(0)])


@pytest.mark.parametrize("layer", [0, 1])
def test_attention_by_hand(
    layer: int, classifier: PairClassifier, examples: list[PairExample]
) -> None:
    is_bert = isinstance(classifier, BertPairClassifier)
    found = Attention(removal="pad", layer=layer if is_bert else 0)(bound(classifier, examples))
    for row, example in enumerate(examples):
        batch = classifier.encoder("word")([example])
        if isinstance(classifier, BertPairClassifier):
            received = bert_by_hand(classifier, batch, layer)
        else:
            assert isinstance(classifier, DecomposableAttention)
            received = dattn_by_hand(classifier, batch)
        expected = torch.stack(
            [received[batch.word_of_token[0] == w].sum() for w in range(batch.word_valid.shape[1])]
        )
        torch.testing.assert_close(found.scores[row, : len(expected)], expected)


def test_last_layer_by_its_two_numbers(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    last = 1 if isinstance(classifier, BertPairClassifier) else 0
    masked = bound(classifier, examples)
    assert torch.equal(masked.attention(-1), masked.attention(last))


def test_attention_is_of_the_whole_pair_whatever_the_removal(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    expected = bound(classifier, examples).attention(-1)
    for removal in ("zero", "mask", "delete"):
        torch.testing.assert_close(bound(classifier, examples, removal).attention(-1), expected)


def test_reading_attention_changes_no_answer(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    masked = bound(classifier, examples)
    before = masked.logits(masked.batch.word_valid[:, None])
    masked.attention(-1)
    assert torch.equal(masked.logits(masked.batch.word_valid[:, None]), before)
    if isinstance(classifier, BertPairClassifier):
        assert classifier.network.config._attn_implementation == "sdpa"


def test_cost_is_as_documented(classifier: PairClassifier, examples: list[PairExample]) -> None:
    masked = bound(classifier, examples)
    Attention(removal="pad", layer=-1)(masked)
    assert masked.evaluations.tolist() == [2, 2, 2]
    assert masked.gradients.tolist() == [0, 0, 0]


def test_a_layer_or_a_model_without_attention_is_a_user_error(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    for layer in (2, -3):
        with pytest.raises(UserError, match=f"layer={layer}"):
            bound(classifier, examples).attention(layer)
        if isinstance(classifier, BertPairClassifier):
            assert classifier.network.config._attn_implementation == "sdpa"
    model = Both()
    masked = MaskedModel(model, model.batch(), "pad", token_budget=4096)
    with pytest.raises(UserError, match="Both does not tell its attention"):
        Attention(removal="pad", layer=-1)(masked)
