"""Task models: sizes, weights on disk, label order."""

from __future__ import annotations

import gzip
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONF, LABELS, OPTIMIZER, make_example, untrained
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, BertModel

from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.bert_tiny import train_tokenizer
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.models.pair_classifier import PairClassifier, drop_words, output_columns
from gmask_pl.models.words import read_vectors
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


def bert_settings() -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["model=bert"])
    settings: Any = OmegaConf.to_container(cfg.model.net, resolve=True)
    assert settings.pop("_target_").endswith(BertPairClassifier.__name__)
    assert settings["pretrained"] == "bert-base-uncased"
    return settings


def test_bert_base_has_the_papers_parameters() -> None:
    """The default configuration of transformers is that of bert-base-uncased."""
    settings = bert_settings()
    del settings["pretrained"], settings["revision"]
    with torch.device("meta"):
        network = BertForSequenceClassification(BertConfig(num_labels=3))
    tokenizer = train_tokenizer({"word": 1}, 60, 512)
    model = BertPairClassifier(labels=LABELS, network=network, tokenizer=tokenizer, **settings)
    assert sum(p.numel() for p in model.parameters()) == 109_484_547


def test_an_encoder_without_a_head_is_fine_tuned_from_its_yaml(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, num_labels=2
    )
    BertModel(config).save_pretrained(tmp_path)
    train_tokenizer({"word": 1}, 60, 512).save_pretrained(tmp_path)
    settings = bert_settings() | {"pretrained": str(tmp_path)}
    model = BertPairClassifier.from_data(labels=LABELS, word_counts={}, **settings)
    batch = model.encoder("word")([make_example("x", "a word", "words")])
    assert model.read(batch).shape == (1, 3)
    assert model.network.config.id2label == dict(enumerate(LABELS))


def test_the_same_words_give_the_same_tokenizer() -> None:
    """With many ties, which the trainer alone breaks at random."""
    words = {f"{a}{b}{c}": 1 for a in "bdgt" for b in "aeiou" for c in "klmn"}
    found = [train_tokenizer(words, 60, 64).get_vocab() for _ in range(4)]
    assert all(vocabulary == found[0] for vocabulary in found)


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


WORDS = ["<pad>", "<unk>", "cat", "dog"]


@pytest.mark.parametrize("name", ["v.vec", "v.vec.gz"])
def test_vectors_are_read_by_word(tmp_path: Path, name: str) -> None:
    file = tmp_path / name

    def write(text: str) -> None:
        raw = text.encode()
        file.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)

    write("2 3\nbird 1 2 3\ncat 4 5 6\n")
    found = read_vectors(file, WORDS, 3)
    assert {word: vector.tolist() for word, vector in found.items()} == {2: [4.0, 5.0, 6.0]}
    for text, line in (("1 3\ndog 1 2\n", 2), ("1 3\ndog 1 2 x\n", 2), ("1 4\n", 1)):
        write(text)
        with pytest.raises(UserError, match=f"{name}:{line}"):
            read_vectors(file, WORDS, 3)


def test_vectors_of_fasttexts_own_form(tmp_path: Path) -> None:
    """As gensim has them; unseen words are composed from their n-grams."""
    fasttext = pytest.importorskip("gensim.models.fasttext")
    sentences = [["cat", "cats", "sleeps"]] * 20
    trained = fasttext.FastText(sentences, vector_size=3, min_count=1, epochs=1, seed=0, workers=1)
    fasttext.save_facebook_model(trained, str(tmp_path / "v.bin"))
    found = read_vectors(tmp_path / "v.bin", [*WORDS, "catty"], 3)
    assert set(found) == {2, 3, 4}
    for index, word in ((2, "cat"), (4, "catty")):
        torch.testing.assert_close(found[index], torch.tensor(trained.wv[word]))
    with pytest.raises(UserError, match="size 3"):
        read_vectors(tmp_path / "v.bin", WORDS, 4)


@pytest.mark.parametrize("name", ["v.vec", "v.vec.gz", "v.bin"])
def test_a_broken_vectors_file_is_one_message(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe broken" * 9)
    with pytest.raises(UserError, match=rf"embeddings=.*{name}"):
        read_vectors(tmp_path / name, WORDS, 3)


@pytest.mark.parametrize("damage", ["empty", "cut", "headless", "reshaped"])
def test_damaged_weights_are_one_message(
    classifier: PairClassifier, tmp_path: Path, damage: str
) -> None:
    if damage != "empty":
        classifier.save(tmp_path)
        weights = tmp_path / "model.safetensors"
        state = load_file(weights)
        if damage == "headless":
            save_file({k: v for k, v in state.items() if "classif" not in k}, weights)
        elif damage == "reshaped":
            save_file({k: v[:-1].clone() for k, v in state.items()}, weights)
        else:
            weights.write_bytes(weights.read_bytes()[:-100])
    own = {"max_length": 64}
    if isinstance(classifier, DecomposableAttention):
        own = {"dropout": 0.0, "embedding_dropout": 0.0, "embedding_std": 1.0}
    with pytest.raises(UserError, match="weights="):
        type(classifier).from_weights(tmp_path, labels=LABELS, label_order=None, **OPTIMIZER, **own)


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


def small_network() -> tuple[Any, Any]:
    """A network of two outputs and its tokenizer."""
    config = BertConfig(
        vocab_size=60, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, num_labels=2
    )
    return BertForSequenceClassification(config), train_tokenizer({"word": 1}, 60, 512)


@pytest.mark.parametrize("name", ["bert", "bert_tiny", "dattn"])
def test_what_yaml_says_of_a_model_is_its_default(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", [f"model={name}"])
    settings: Any = OmegaConf.to_container(cfg.model.net, resolve=True)
    kind = get_class(settings.pop("_target_"))
    if name == "bert":
        network, tokenizer = small_network()
        usual = kind(network=network, tokenizer=tokenizer)
    else:
        usual = kind.from_data(labels=LABELS, word_counts={"word": 1})
    assert usual.usual_removal == cfg.model.removal
    defaults = {
        name: parameter.default
        for function in (kind.from_data, kind.__init__)
        for name, parameter in inspect.signature(function).parameters.items()
    }
    for key, value in settings.items():
        held = getattr(usual, key, None)  # what it was made with, where it keeps that
        assert (held if isinstance(held, int | float) else defaults[key]) == value, key


def test_weights_of_earlier_versions_come_back(examples: list[PairExample], tmp_path: Path) -> None:
    model = untrained("dattn")
    sizes = {"embedding_size": 12, "hidden_size": 16}
    config = {"model_type": "dattn", "labels": list(LABELS), "sizes": sizes}
    (tmp_path / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (tmp_path / "vocab.json").write_text(json.dumps(model.vocabulary), "utf-8")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    again = DecomposableAttention.from_weights(tmp_path, embeddings="gone.vec").eval()
    assert again.labels == LABELS
    batch = model.encoder("word")(examples)
    assert torch.equal(again.read(batch), model.read(batch))
    renamed = DecomposableAttention.from_weights(tmp_path, label_order=["yes", "so so", "no"])
    assert renamed.labels == ("yes", "so so", "no")


def test_outputs_have_names_of_their_own() -> None:
    model = untrained("bert_tiny")
    network, tokenizer = model.network, model.tokenizer
    for labels in (["a", "b", "a"], ["a", "a", "b"]):
        with pytest.raises(UserError, match="two have one name"):
            BertPairClassifier.from_network(network, tokenizer, label_order=labels)  # type: ignore[arg-type]
    network.config.id2label = {0: "a", 1: "b"}  # type: ignore[union-attr]
    short = BertPairClassifier.from_network(network, tokenizer)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="has 3 outputs, and num_labels and id2label .* say 2"):
        short.reading()


def test_a_network_in_memory_says_what_its_outputs_are() -> None:
    network, tokenizer = small_network()
    model = BertPairClassifier.from_network(network, tokenizer)
    assert (model.labels, model.columns) == (("LABEL_0", "LABEL_1"), [0, 1])
    given = {"labels": ["yes", "no"], "label_order": ["no", "yes"]}
    model = BertPairClassifier.from_network(network, tokenizer, **given)
    assert (model.labels, model.columns) == (("yes", "no"), [1, 0])
    with pytest.raises(TypeError, match="max_lenght"):
        BertPairClassifier.from_network(network, tokenizer, max_lenght=3)
    network.config.problem_type = "regression"
    with pytest.raises(UserError, match="the network: it has 2 outputs, and outputs=score is of"):
        BertPairClassifier.from_network(network, tokenizer)
    with pytest.raises(UserError, match="the network: dict is no fast tokenizer"):
        BertPairClassifier.from_network(network, {})  # type: ignore[arg-type]
