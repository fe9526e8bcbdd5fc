"""What strangers hand over: weights, indices, code and labels of a model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import zoo
from conftest import LABELS, OPTIMIZER, make_example
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors.torch import save_file

from gmask_pl.models import safe_loading as stored
from gmask_pl.models.adapters import stored_model
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.model_check import check
from gmask_pl.models.parts import BiEncoder
from gmask_pl.types import UserError

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole model."""
    model = zoo.made("bert")
    model.network.config.id2label = dict(enumerate(LABELS))
    model.network.config.label2id = {name: i for i, name in enumerate(LABELS)}
    model.save(tmp_path)
    return tmp_path


def read(folder: Path, **settings: Any) -> BertPairClassifier:
    usual: dict[str, Any] = {"labels": LABELS, "label_order": None, "max_length": 40}
    return BertPairClassifier.from_weights(folder, **usual | OPTIMIZER | settings).eval()


def change(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | settings), "utf-8")


def shards(folder: Path, name: str) -> None:
    """The weights as a shard of this name, and an index that says so."""
    state = {key: value.contiguous() for key, value in read(folder).network.state_dict().items()}
    (folder / "model.safetensors").unlink()
    place = folder / name
    place.parent.mkdir(exist_ok=True)
    if name.endswith(".safetensors"):
        save_file(state, place, {"format": "pt"})
    else:
        torch.save(state, place)
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(state, name)}
    (folder / INDEX).write_text(json.dumps(index), "utf-8")


def test_shards_beside_their_index_are_read(folder: Path) -> None:
    before = read(folder)
    shards(folder, "model-00001-of-00001.safetensors")
    batch = before.encoder("word")([make_example("x", "a dog runs", "the dog sleeps")])
    torch.testing.assert_close(read(folder).read(batch), before.read(batch))


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "../elsewhere.safetensors", "in/model.safetensors"]
)
def test_an_index_names_safetensors_of_its_folder_alone(folder: Path, name: str) -> None:
    inner = folder / "model"
    inner.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            file.rename(inner / file.name)
    shards(inner, name)
    with pytest.raises(UserError, match=rf"weights=.*index\.json names '{name}'"):
        read(inner)
    (inner / INDEX).write_text("[]", "utf-8")
    with pytest.raises(UserError, match="weights="):
        read(inner)


@pytest.mark.parametrize("place", ["/no/such/folder", "./none", "~/none", "runs/bert/none"])
def test_a_folder_that_is_not_there_is_no_hub_id(place: str) -> None:
    with pytest.raises(UserError, match=rf"weights={place}: there is no such folder"):
        BertPairClassifier.from_weights(place)


def test_a_name_that_nobody_knows_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*named: Any, **settings: Any) -> None:
        pytest.fail("a file was asked for")

    monkeypatch.setattr(stored, "cached_file", never)
    for load in (stored_model, BertPairClassifier.from_weights, BiEncoder.from_weights):
        with pytest.raises(UserError, match="my/modle: there is no such folder, and the hub can"):
            load("my/modle")  # the tests have no network

    def unknown(*named: Any, **settings: Any) -> None:
        response = mock.Mock(headers={}, request=mock.Mock())
        raise RepositoryNotFoundError("404", response=response)

    monkeypatch.setattr(stored, "model_info", unknown)
    with pytest.raises(UserError, match="my/modle: there is no such folder, and no such model on"):
        stored_model("my/modle")


def test_an_adapter_is_not_taken_for_its_model(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}', "utf-8")
    for load in (stored_model, read):
        with pytest.raises(UserError, match="an adapter of peft.*merge_and_unload"):
            load(folder)


def test_what_a_configuration_says_wrong_is_not_told_as_missing_files(folder: Path) -> None:
    one = {"id2label": {"0": "yes"}, "label2id": {"yes": 0}}
    change(folder / "config.json", problem_type="single_label_classification", **one)
    with pytest.raises(UserError, match="take problem_type out") as told:
        stored_model(folder)
    assert "model.safetensors" not in str(told.value)
    change(folder / "config.json", problem_type=None, **one, hidden_size="many")
    with pytest.raises(UserError, match="the files of a model are there") as told:
        stored_model(folder)
    assert "that holds config.json" not in str(told.value)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"that holds config\.json"):
        stored_model(folder)


def test_weights_named_by_the_configuration_stay_in_the_folder(folder: Path) -> None:
    for name in ("../model.safetensors", "model.bin"):
        change(folder / "config.json", transformers_weights=name)
        with pytest.raises(UserError, match="weights="):
            read(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_foreign_code_is_neither_run_nor_asked_about(
    folder: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *said: pytest.fail(f"asked: {said}"))
    (folder / "foreign.py").write_text("raise SystemExit('run')", "utf-8")
    auto = {"AutoModelForSequenceClassification": "foreign.M", "AutoConfig": "foreign.C"}
    tokenizer = {"AutoTokenizer": ["foreign.T", "foreign.T"]}
    if file == "config.json":
        change(folder / file, auto_map=auto, model_type="foreign")
    else:
        change(folder / file, auto_map=tokenizer, tokenizer_class="ForeignTokenizer")
    try:
        read(folder)
    except UserError as error:
        assert "weights=" in str(error)
        assert "foreign" in str(error) or "own Python code, which is never run" in str(error)
    change(folder / "config.json", auto_map=auto, model_type="bert")
    change(folder / "tokenizer_config.json", auto_map=tokenizer, tokenizer_class="BertTokenizer")
    read(folder)  # what transformers knows needs no foreign code


def test_a_revision_is_of_a_hub_id(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"model\.revision=v1: .* is a folder"):
        read(folder, revision="v1")
    asked: list[Any] = []

    def found(source: str, *rest: Any, **settings: Any) -> None:
        asked.append((source, settings.get("revision"), settings.get("trust_remote_code")))
        if settings.get("trust_remote_code") is not None:
            raise OSError("not here")

    monkeypatch.setattr(stored, "cached_file", found)
    monkeypatch.setattr(stored, "model_info", lambda *named, **settings: None)
    for name in ("AutoModelForSequenceClassification", "AutoTokenizer"):
        monkeypatch.setattr(getattr(stored, name), "from_pretrained", found)
    with pytest.raises(UserError, match="not here"):
        BertPairClassifier.from_weights(
            "org/name", labels=LABELS, label_order=None, revision="v1", max_length=40, **OPTIMIZER
        )
    assert asked == [*[("org/name", "v1", None)] * 2, ("org/name", "v1", False)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"problem_type": "regression"}, "it has 3 outputs, and outputs=score is of a model with"),
        (
            {"id2label": {str(i + 1): name for i, name in enumerate(LABELS)}},
            "counted from 0 to 2",
        ),
    ],
)
def test_outputs_that_contradict_themselves_are_refused(
    folder: Path, settings: dict[str, Any], said: str
) -> None:
    change(folder / "config.json", **settings)
    with pytest.raises(UserError, match=said):
        read(folder)


def test_labels_that_may_all_be_right_are_read_as_such(folder: Path) -> None:
    change(folder / "config.json", problem_type="multi_label_classification")
    assert check(read(folder)).outputs == "sigmoid"


def test_label_order_names_outputs_that_number_themselves_otherwise(folder: Path) -> None:
    change(folder / "config.json", id2label={str(i + 1): name for i, name in enumerate(LABELS)})
    order = ["contradiction", "neutral", "entailment"]
    assert read(folder, label_order=order).columns == [2, 1, 0]


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text("utf-8"))
    tokenizer["model"]["vocab"]["elsewhere"] = 7000
    file.write_text(json.dumps(tokenizer), "utf-8")
    with pytest.raises(UserError, match=r"token ids up to 7000, .* embeddings of \d+ tokens"):
        read(folder)


def test_special_tokens_without_an_embedding_are_not_used() -> None:
    """As padding that was added to a tokenizer and never to its network."""
    model = zoo.made("gpt2 without padding")
    tokenizer = zoo.without_padding()
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "<pad>", "mask_token": "<mask>"})
    made = BertPairClassifier(
        labels=LABELS, network=model.network, tokenizer=tokenizer, max_length=40, **OPTIMIZER
    )
    assert made.pad_token_id < rows
    assert made.mask_token_id is None
