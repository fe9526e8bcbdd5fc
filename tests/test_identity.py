"""What decides a result: all of it is told, nothing else is, and a change makes it anew."""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import CONF, LABELS, ROOT, untrained
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import LightningModule
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gmask_paper.archive import archived_runs
from gmask_pl.explainers.gmask import GMask
from gmask_pl.identity import of_model, of_result
from gmask_pl.identity.of_code import code_of
from gmask_pl.identity.of_model import identity_of_model
from gmask_pl.identity.of_pairs import pairs_digest
from gmask_pl.identity.of_result import (
    IDENTITY,
    Identity,
    identity_of_run,
    identity_of_training,
)
from gmask_pl.identity.parts import KIND, described, kind_of, kinds, target_of
from gmask_pl.identity.setting_roles import EXPLAIN, TRAIN, Told, place_of
from gmask_pl.models import words
from gmask_pl.models.bert_tiny import TinyBert
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.pipeline.build import plain
from gmask_pl.pipeline.explaining import explain
from gmask_pl.pipeline.hydra_setup import deciding_settings, register
from gmask_pl.suitability import check_key
from gmask_pl.types import Highlight, ModelInput, PairExample, PairScore

register()
GROUPS = ("dataset", "model", "explainer", "metric", "trainer", "logger")
ONE = Identity({"k": 10, "metric": {"aopc": 1}}, {"weights": "some"}, "pairs")


def composed(script: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(script, ["log_dir=logs", "run_name=x", *overrides])


def leaves(settings: Any, above: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


@pytest.mark.parametrize(("script", "table"), [("explain", EXPLAIN), ("train", TRAIN)])
def test_every_setting_has_its_place(script: str, table: dict[str, Told]) -> None:
    """A new key must be placed: nobody else can know whether it decides anything."""
    for group in GROUPS:
        for file in sorted((CONF / group).glob("*.yaml")):
            if script == "train" and group in ("explainer", "metric"):
                continue
            choice = f"[{file.stem}]" if group in ("metric", "logger") else file.stem
            settings = OmegaConf.to_container(composed(script, f"{group}={choice}"))
            nowhere = [key for key in leaves(settings) if place_of(key, table) is None]
            assert not nowhere, f"{group}={choice}: place these in identity/placing.py: {nowhere}"


def test_a_setting_that_nobody_has_placed_decides() -> None:
    assert place_of("new", EXPLAIN) is None
    assert "new" in deciding_settings(composed("explain", "+new=1"))
    earlier = deciding_settings(composed("explain", "+answers=kept"))
    assert earlier == deciding_settings(composed("explain", "response_cache=kept"))
    assert place_of("metric.naopc.cache", EXPLAIN) is Told.NOT
    assert place_of("metric.naopc.beam", EXPLAIN) is Told.VALUE
    assert place_of("model.net.lr", EXPLAIN) is Told.TRAINING
    assert place_of("model.net.temperature", EXPLAIN) is Told.MODEL
    assert place_of("model.net.lr", TRAIN) is Told.VALUE


def identity(pairs: list[PairExample], *overrides: str) -> Identity:
    settings = plain(composed("explain", *overrides))
    model = identity_of_model(nn.Linear(1, 1, bias=False), "32-true")
    return replace(identity_of_run(settings, model, pairs), model={"weights": "some"})


def test_what_can_change_a_number_is_told_and_nothing_else(examples: list[PairExample]) -> None:
    base = identity(examples)
    same = ("logger=[]", "report.max_pairs=3", "trainer.devices=2", "workers=1", "response_cache=a")
    assert identity(examples, *same, "+trainer.strategy=ddp", "reuse=false") == base
    # They lead to a model and to pairs, which are told by themselves.
    assert identity(examples, "weights=W", "limit=7", "model.net.lr=1") == base
    assert identity(examples, "seed=1").differences(base) == [
        "setting explainer.seed",
        "setting explainer.word_filter.seed",
    ]
    assert identity(examples, "explainer.k=4").differences(base) == ["setting explainer.k"]
    assert identity(examples[:2]).differences(base) == ["pairs"]
    others = replace(base, model={"weights": "others"})
    assert others.differences(base) == ["weights of the model"]
    metric = identity(examples, "metric=[aopc]")
    assert "setting metric.degradation" in metric.differences(base)
    assert metric.of_explanations == base.of_explanations
    assert metric.of_explanations.digest == base.of_explanations.digest
    for other in (identity(examples, "seed=1"), replace(base, pairs="others"), others):
        assert other.of_explanations != base.of_explanations


def test_the_classes_of_parts_are_told_by_their_names_in_conf() -> None:
    settings = plain(composed("explain", "explainer=gmask_two_sided"))
    found = described(settings["explainer"])
    assert (found[KIND], found["word_filter"][KIND]) == ("gmask", "paired_ridge")
    assert "_target_" not in json.dumps(described(settings))
    # A class of one's own is another one, whatever the choice is called.
    assert kind_of("mine.GMask") == "mine.GMask"
    for group, kind in kinds():
        named = kind_of(target_of(group, kind) or "")
        assert target_of(group, named) == target_of(group, kind)


def test_published_runs_name_no_class_by_its_path() -> None:
    runs = archived_runs(ROOT / "gmask_paper" / "results" / "runs")
    assert len(runs) > 400
    for file in (ROOT / "gmask_paper" / "results" / "runs").glob("*.parquet"):
        assert not any("gmask_pl." in text.as_py() for text in pq.read_table(file)["config"])
    for run in runs:
        assert target_of("explainer", run.explainer_settings[KIND])
        for metric in run.scores:
            assert metric == "evaluations" or run.metric_class(metric)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "other"},
        {"text1": "a man plays the electric guitar on Stage ."},
        {"spans2": ((0, 1),)},
        {"label": None},
        {"highlights": (Highlight(None, frozenset({1})),)},
        {"evidence": (frozenset({1, 3}),)},
    ],
)
def test_pairs_are_others_when_anything_of_one_is(
    examples: list[PairExample], change: dict[str, Any]
) -> None:
    changed = [replace(examples[0], **change), *examples[1:]]
    assert pairs_digest(changed) != pairs_digest(examples)
    assert pairs_digest(examples[::-1]) != pairs_digest(examples)
    assert pairs_digest(iter(examples)) == pairs_digest(examples)


def test_an_identity_is_read_back(tmp_path: Path) -> None:
    ONE.write(tmp_path)
    assert Identity.read(tmp_path) == ONE
    (tmp_path / IDENTITY).write_text('{"weights": "half')
    assert Identity.read(tmp_path) is None
    assert Identity.read(tmp_path / "none") is None
    for wrong in ("[]", '"x"', '{"settings": [], "model": {}, "pairs": ""}', "[" * 100_000):
        (tmp_path / IDENTITY).write_text(wrong)
        assert Identity.read(tmp_path) is None


def test_an_identity_of_an_earlier_version_is_another_one(tmp_path: Path) -> None:
    explainer = {"_target_": "gmask_pl.explainers.gmask.GMask", "k": 10}
    old = {"settings": {"explainer": explainer}, "weights": "some", "pairs": "pairs"}
    (tmp_path / IDENTITY).write_text(json.dumps(old))
    found = Identity.read(tmp_path)
    assert found is not None
    assert found.settings == {"explainer": {KIND: "gmask", "k": 10}}
    assert (found.model, found.pairs) == ({"weights": "some"}, "pairs")
    assert found.differences(replace(found, revision=1)) == ["version of this project"]


def test_a_class_can_be_renamed_and_a_model_is_all_that_answers_depend_on() -> None:
    model = untrained("bert_tiny")
    model.__class__ = type("Own", (TinyBert,), {})
    before = identity_of_model(model, "32-true")
    model.encoder("word").tokenizer("a b", truncation=True, max_length=3, padding=True)  # type: ignore[attr-defined]
    model.dev_accuracy.update(torch.eye(3), torch.arange(3))
    _ = model.skips_hidden
    assert identity_of_model(model, "32-true") == before
    model.__class__ = type("Renamed", (TinyBert,), {})
    assert identity_of_model(model, "32-true") == before
    assert identity_of_model(model, "bf16-mixed").digest != before.digest
    model.columns = [1, 0, 2]  # type: ignore[assignment]
    assert identity_of_model(model, "32-true").digest != before.digest


def test_layers_and_plain_attributes_are_told() -> None:
    class Own(nn.Module):
        weights_tag = "Own"

        def __init__(self, act: nn.Module, words: tuple[str, ...] = ("a",)) -> None:
            super().__init__()
            self.act, self.words = act, words

    told = {
        identity_of_model(Own(act, words), "32-true").digest
        for act in (nn.ReLU(), nn.GELU(), nn.Softplus(beta=2.0))
        for words in (("a",), tuple(map(str, range(1000))), tuple(map(str, range(1001))))
    }
    assert len(told) == 9


class Held(nn.Module):
    """A bias that is held in some way."""

    weights_tag = "Held"
    ways: ClassVar[dict[str, Callable[[float], Any]]] = {
        "closure": lambda bias: lambda x: x + bias,
        "default": lambda bias: lambda x, y=bias: x + y,
        "code": lambda bias: (lambda x: x + 1.0) if bias == 1.0 else (lambda x: x + 3.0),
        "tensor": lambda bias: torch.tensor([bias]),
        "array": lambda bias: np.array([bias]),
        "number": lambda bias: np.float32(bias),
        "partial": lambda bias: functools.partial(torch.add, other=bias),
        "object": lambda bias: SimpleNamespace(a=[SimpleNamespace(bias=bias)]),
        "dataclass": lambda bias: {"a": PairScore("", None, "", (bias,))},
        "method": lambda bias: SimpleNamespace(bias=bias).__eq__,
        "of torch": lambda bias: nn.MultiheadAttention(4, 2 if bias == 1.0 else 4, device="meta"),
    }

    def __init__(self, way: str, bias: float) -> None:
        super().__init__()
        self.register_buffer("unsaved", torch.tensor(bias), persistent=False)
        if way != "buffer":
            self.unsaved.zero_()
            self._held = self.ways[way](bias)
        if way == "of torch":
            self.load_state_dict(
                {
                    name: torch.ones_like(value, device="cpu")
                    for name, value in self.state_dict().items()
                },
                assign=True,
            )


@pytest.mark.parametrize("way", ["buffer", *Held.ways])
def test_whatever_a_model_holds_is_told(way: str) -> None:
    one, again, other = (identity_of_model(Held(way, bias), "32-true") for bias in (1.0, 1.0, 3.0))
    assert one == again
    assert one.weights == other.weights
    assert one.digest != other.digest


def hooked(network: Any) -> None:
    network.classifier.register_forward_hook(lambda module, inputs, out: out + 1)


def activated(network: Any) -> None:
    network.bert.encoder.layer[0].intermediate.intermediate_act_fn = nn.Tanh()


def replaced(network: Any) -> None:
    usual = network.classifier.forward
    network.classifier.forward = lambda x: usual(x) + 1


def buffered(network: Any) -> None:
    network.bert.embeddings.position_ids.add_(1)


@pytest.mark.parametrize("change", [hooked, activated, replaced, buffered])
def test_whatever_changes_a_network_is_told(change: Callable[[Any], None]) -> None:
    model = untrained("bert_tiny")
    before = identity_of_model(model, "32-true")
    change(model.network)
    after = identity_of_model(model, "32-true")
    assert after.weights == before.weights
    assert after.digest != before.digest


CODE = """
import own_helpers
from gmask_pl.explainers.occlusion import Occlusion
from torch import nn

SCALE, UNUSED = {scale}, {unused}


def scaled(x):
    {comment}
    return own_helpers.shifted(x * SCALE)


class Base:
    def forward(self, x):
        return self.inner(x)


class Network(Base, nn.Module):
    power = {power}
    inner = staticmethod(lambda x: scaled(x) ** {exponent})


class Mine(Occlusion):
    def __call__(self, masked):
        found = super().__call__(masked)
        return type(found)(scaled(found.scores), found.groups)
"""
HELPERS = "def shifted(x):\n    return x + {shift}\n"
WRITTEN = {"scale": 1.0, "unused": 1, "comment": '"""As it is."""', "power": 1, "exponent": 1}
WRITTEN |= {"shift": 0}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """A module of a user's own, written with some values in it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(**values: Any) -> ModuleType:
        for name, text in (("own_parts", CODE), ("own_helpers", HELPERS)):
            sys.modules.pop(name, None)
            (tmp_path / f"{name}.py").write_text(text.format(**WRITTEN | values), "utf-8")
        importlib.invalidate_caches()
        return importlib.import_module("own_parts")

    return write


def test_the_code_of_ones_own_is_told(written: Callable[..., ModuleType]) -> None:
    def told(**values: Any) -> str:
        return identity_of_model(written(**values).Network(), "32-true").digest

    assert told() == told(unused=2, comment="# in other words")
    changes: list[dict[str, Any]] = [{"scale": 3.0}, {"power": 2}, {"exponent": 2}, {"shift": 1}]
    assert len({told(), *(told(**change) for change in changes)}) == 5


SETS = """
import json

def chosen(x):
    return x in {"a", "b", "c", "d"} or x in KNOWN

KNOWN = {"e", "f", "g", "h"}

class Base(json.JSONEncoder):
    def default(self, x):
        return chosen(x)

class Mine(Base):
    def encode(self, x):
        return x in frozenset({"i", "j", "k", "l"}) or super().encode(x)
"""


def test_the_code_is_told_alike_by_every_process(tmp_path: Path) -> None:
    """Whatever the order in which it keeps sets."""
    (tmp_path / "own_sets.py").write_text(SETS, "utf-8")
    told = "from gmask_pl.identity.of_code import code_at; import own_sets; "
    told += "print(list(own_sets.KNOWN)); print(code_at('own_sets.Mine'))"
    orders, found = zip(
        *(
            subprocess.run(
                [sys.executable, "-c", told],
                env=os.environ
                | {"PYTHONHASHSEED": seed, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.splitlines()
            for seed in ("1", "2", "3")
        ),
        strict=True,
    )
    assert len(set(orders)) == 3
    assert len(set(found)) == 1
    assert found[0]


def test_the_code_of_packages_is_told_by_their_names() -> None:
    for part in (nn.Linear, TinyBert, GMask, json.dumps, Path, print, LightningModule.log, 3):
        assert code_of(part) == ""


def test_a_run_of_an_explainer_of_ones_own_is_made_anew_when_its_code_changes(
    tmp_path: Path, written: Callable[..., ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = Lab(tmp_path)
    own = ("explainer._target_=own_parts.Mine",)
    written()
    before = lab.explain(*own)
    assert lab.explain(*own) == before
    written(comment="# in other words")
    assert lab.explain(*own) == before
    assert capsys.readouterr().out.count("were there already") == 2
    written(scale=-1.0)
    assert lab.explain(*own)["aopc"]["value"] != before["aopc"]["value"]
    assert "setting explainer.code: made again" in capsys.readouterr().out


def test_a_model_is_tried_again_when_the_code_of_its_class_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = identity_of_model(untrained("dattn"), "32-true")
    before = check_key(model, DecomposableAttention, gradients=False)
    assert check_key(model, DecomposableAttention, gradients=False) == before
    changed = tmp_path / "words.py"
    changed.write_text(Path(words.__file__).read_text("utf-8") + "\n# changed\n", "utf-8")
    monkeypatch.setattr(words, "__file__", str(changed))  # of a base class
    assert check_key(model, DecomposableAttention, gradients=False) != before


def test_a_thing_within_itself_is_told_once() -> None:
    model = Held("object", 1.0)
    model._held.itself = model._held
    assert identity_of_model(model, "32-true").digest


def test_how_special_tokens_are_read_is_told() -> None:
    model = untrained("bert_tiny")
    before = identity_of_model(model, "32-true")
    model.encoder("word").tokenizer.split_special_tokens = True  # type: ignore[attr-defined]
    assert identity_of_model(model, "32-true").tokenizer != before.tokenizer


def test_a_training_is_told_by_what_it_starts_from(
    examples: list[PairExample], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{}")
    settings = plain(composed("train", "model=bert", f"model.pretrained={tmp_path}"))
    before = identity_of_training(settings, examples)
    assert identity_of_training(settings | {"output": "other"}, examples) == before
    (tmp_path / "config.json").write_text('{"layers": 2}')
    changed = identity_of_training(settings, examples)
    assert changed.differences(before) == ["contents of model.net.pretrained"]
    other = plain(composed("train", "model=bert", f"model.pretrained={tmp_path}", "seed=1"))
    assert identity_of_training(other, examples).differences(changed) == ["setting seed"]


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "explainer").glob("*.yaml")))
def test_explainers_say_whether_they_learn(name: str) -> None:
    learns = instantiate(composed("explain", f"explainer={name}").explainer).learns
    assert learns == (name in ("iba", "l2x"))
    if name == "gmask":
        filtered = composed("explain", "explainer@explainer.word_filter=l2x")
        assert instantiate(filtered.explainer).learns


class Tempered(TinyBert):
    """A model of one's own with a setting that is no weight and is not kept in plain sight."""

    def __init__(self, *, temperature: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._temperature = temperature

    @classmethod
    def from_weights(  # type: ignore[override]
        cls, weights: Any, *, temperature: float, max_length: int, **settings: Any
    ) -> Self:
        read = TinyBert.from_weights(weights, max_length=max_length, **settings)
        own = {"labels": read.labels, "network": read.network, "tokenizer": read.tokenizer}
        optimizer = {name: settings[name] for name in OPTIMIZER}
        return cls(temperature=temperature, max_length=max_length, **own, **optimizer)

    def forward(self, inputs: ModelInput) -> Tensor:
        return super().forward(inputs) / self._temperature


OPTIMIZER = ("lr", "weight_decay", "warmup", "linear_decay", "word_dropout")
TEMPERED = (
    f"model.net._target_={__name__}.Tempered",
    "+model.net.temperature=2.0",
)


class Lab:
    """A stored model and pairs, which a run explains."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.weights, self.pairs = folder, folder / "model", folder / "pairs.jsonl"
        untrained("bert_tiny").save(self.weights)
        rows = [
            {"id": "1", "text1": "A man plays the guitar", "text2": "the man sleeps", "label": 0},
            {"id": "2", "text1": "two dogs run", "text2": "animals run", "label": 1},
        ]
        self.write(rows)

    def copied(self, folder: Path) -> Lab:
        """Another one with all that was found in this."""
        lab = Lab(folder)
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return lab

    def write(self, rows: list[dict[str, Any]]) -> None:
        text = "\n".join(json.dumps(row | {"label": LABELS[row["label"]]}) for row in rows)
        self.pairs.write_text(text + "\n", "utf-8")

    def rows(self) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in self.pairs.read_text("utf-8").splitlines()]
        return [row | {"label": LABELS.index(row["label"])} for row in rows]

    def explain(self, *overrides: str) -> dict[str, Any]:
        cfg = composed(
            "explain",
            *("dataset=pairs", f"dataset.path={self.pairs}", f"weights={self.weights}"),
            f"dataset.labels=[{','.join(LABELS)}]",
            *("explainer=occlusion", "metric=[aopc]", "logger=[]", f"output={self.folder}"),
            "+trainer.enable_progress_bar=false",
            *overrides,
        )
        return explain(cfg, self.folder / "run", "occlusion")

    def json(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        file = self.weights / name
        settings = json.loads(file.read_text("utf-8"))
        change(settings)
        file.write_text(json.dumps(settings), "utf-8")


def swap_labels(config: dict[str, Any]) -> None:
    names = [config["id2label"][str(i)] for i in range(len(LABELS))]
    config["id2label"] = {str(i): names[1 - i] if i < 2 else names[i] for i in range(len(names))}
    config["label2id"] = {name: int(i) for i, name in config["id2label"].items()}


def nothing(lab: Lab) -> None:
    """The command changes."""


def scale_weights(lab: Lab) -> None:
    file = lab.weights / "model.safetensors"
    weights = {name: tensor * 1.5 for name, tensor in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})


def other_text(lab: Lab) -> None:
    first, *others = lab.rows()
    lab.write([first | {"text2": "nobody sleeps"}, *others])


CHANGES: dict[str, tuple[Callable[[Lab], object], tuple[str, ...], str]] = {
    "weights": (scale_weights, (), "weights of the model"),
    "tokenizer rule": (
        lambda lab: lab.json("tokenizer_config.json", lambda c: c.update(do_lower_case=False)),
        (),
        "tokenizer of the model (tokenizer)",
    ),
    "configuration": (
        lambda lab: lab.json("config.json", lambda config: config.update(hidden_act="relu")),
        (),
        "network configuration of the model (network.hidden_act, network.layers)",
    ),
    "attention heads": (
        lambda lab: lab.json("config.json", lambda config: config.update(num_attention_heads=4)),
        (),
        "network configuration of the model (network.layers, network.num_attention_heads)",
    ),
    "label order": (
        lambda lab: lab.json("config.json", swap_labels),
        (),
        "settings of the model (columns)",
    ),
    "setting of a model of one's own": (
        nothing,
        (*TEMPERED[:1], "+model.net.temperature=0.5"),
        "settings of the model (_temperature, made_with.temperature)",
    ),
    "text of a pair": (other_text, (), "pairs"),
    "setting of the explainer": (
        nothing,
        ("explainer.removal=mask",),
        "explainer.removal",
    ),
    "precision": (nothing, ("trainer.precision=bf16-mixed",), "precision of the model"),
}


@pytest.mark.slow
def test_a_change_of_any_input_makes_a_result_anew(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    labs = {own: Lab(tmp_path_factory.mktemp("lab")) for own in ((), TEMPERED)}
    before = {own: lab.explain(*own) for own, lab in labs.items()}
    for what, (change, overrides, told) in CHANGES.items():
        own = TEMPERED if "model.net._target_" in "".join(overrides) else ()
        lab = labs[own].copied(tmp_path_factory.mktemp("lab"))
        capsys.readouterr()
        assert lab.explain(*own) == before[own], what
        assert "these results were there already" in capsys.readouterr().out, what
        change(lab)
        after = lab.explain(*overrides)
        said = capsys.readouterr().out
        assert "were there already" not in said, what
        assert told in said, (what, said)
        fresh = Lab(tmp_path_factory.mktemp("lab"))
        change(fresh)
        alone = fresh.explain(*overrides)
        assert after["aopc"] == alone["aopc"], what
        assert after["model"] == alone["model"], what


def test_a_run_hashes_its_model_and_its_pairs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def counted(module: Any, name: str) -> None:
        call = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a: hashed.append(name) or call(*a))

    counted(of_model, "weights_digest")
    counted(of_result, "pairs_digest")
    lab = Lab(tmp_path)
    lab.explain()
    assert sorted(hashed) == ["pairs_digest", "weights_digest"]


@pytest.mark.slow
def test_kept_answers_and_bounds_are_of_one_setting_of_a_model(tmp_path: Path) -> None:
    """A temperature is no weight, and yet every answer depends on it."""
    lab = Lab(tmp_path)
    warm, cold = ((TEMPERED[0], f"+model.net.temperature={t}") for t in (2.0, 0.5))
    metrics = "metric=[aopc,naopc]", "metric.naopc.min_range=1e-6"
    kept = (f"response_cache={tmp_path / 'answers'}", *metrics)
    found = [lab.explain(*kept, *own) for own in (warm, cold, warm)]
    alone = lab.explain(*cold, *metrics, "metric.naopc.cache=null", "reuse=false")
    for metric, number in (("aopc", "value"), ("naopc", "highest")):
        value, expected = found[1][metric][number], alone[metric][number]
        assert value == pytest.approx(expected, rel=1e-4)  # batches differ in rounding
        assert found[0][metric][number] != pytest.approx(expected, rel=1e-2)
        assert found[2][metric] == found[0][metric]
