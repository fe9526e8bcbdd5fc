"""Task models: sizes, weights on disk, label order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import LABELS, OPTIMIZER
from transformers import BertConfig, BertForSequenceClassification

from gmask_pl.models.base import PairClassifier, drop_words, output_columns
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.models.vectors import read_vectors
from gmask_pl.types import PairExample, UserError


def test_dattn_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        model = DecomposableAttention(
            labels=LABELS,
            vocabulary=["w"] * 34_112,
            embeddings=None,
            embedding_size=300,
            hidden_size=300,
            dropout=0.2,
            embedding_dropout=0.1,
            embedding_std=0.1,
            **OPTIMIZER,
        )
    total = sum(p.numel() for p in model.parameters())
    assert total - model.embedding.weight.numel() == 722_703 + 90_000
    assert total == 11_046_303


def test_bert_base_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        model = BertForSequenceClassification(BertConfig(num_labels=3))
    assert sum(p.numel() for p in model.parameters()) == 109_484_547


def test_weights_come_back(
    classifier: PairClassifier, examples: list[PairExample], tmp_path: Path
) -> None:
    classifier.save(tmp_path / "w")
    kept = dict(OPTIMIZER)
    if isinstance(classifier, DecomposableAttention):
        kept |= {"dropout": 0.0, "embedding_dropout": 0.0, "embedding_std": 1.0}
    else:
        kept |= {"max_length": 64}
    order = ("contradiction", "entailment", "neutral")
    again = (
        type(classifier).from_weights(tmp_path / "w", labels=order, label_order=None, **kept).eval()
    )
    batch = classifier.encoder("word")(examples)
    with torch.no_grad():
        expected = classifier.read(batch)[:, [LABELS.index(name) for name in order]]
        torch.testing.assert_close(again.read(again.encoder("word")(examples)), expected)


def test_label_order_must_name_the_labels() -> None:
    assert output_columns(["a", "b"], ["b", "a"], None, "x") == [1, 0]
    assert output_columns(["a", "b"], ["LABEL_0", "LABEL_1"], ["b", "a"], "x") == [1, 0]
    with pytest.raises(UserError, match="label_order"):
        output_columns(["a", "b"], ["LABEL_0", "LABEL_1"], None, "x")


def test_vectors_are_read_by_word(tmp_path: Path) -> None:
    file = tmp_path / "v.vec"
    file.write_text("2 3\ndog 1 2 3\ncat 4 5 6\n", "utf-8")
    found = read_vectors(file, ["<pad>", "<unk>", "cat"], 3)
    assert {word: vector.tolist() for word, vector in found.items()} == {2: [4.0, 5.0, 6.0]}
    file.write_text("1 3\ndog 1 2\n", "utf-8")
    with pytest.raises(UserError, match=r"v\.vec:2"):
        read_vectors(file, ["<pad>", "<unk>", "dog"], 3)


def test_word_dropout_hides_whole_words_of_some_pairs(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    torch.manual_seed(0)
    batch = classifier.encoder("word")(examples)
    assert torch.equal(drop_words(batch, 0.0).attention, batch.attention)
    hidden = 0
    for _ in range(20):
        left = drop_words(batch, 1.0).attention
        assert bool((left <= batch.attention).all())
        special = (batch.word_of_token < 0) & batch.attention
        assert bool(left[special].all())
        for row in range(len(batch)):
            for word in range(batch.word_valid.shape[1]):
                pieces = left[row, batch.word_of_token[row] == word]
                assert len(set(pieces.tolist())) <= 1
        hidden += int((batch.attention & ~left).sum())
    assert hidden > 0
