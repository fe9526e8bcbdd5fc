"""Explanations from Python: those of explain.py, and clear errors."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import math
import multiprocessing
import os
import pickle
import pkgutil
import random
import re
import signal
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import huggingface_hub
import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from conftest import CONF, LABELS, TEXTS, explainer_of, holds, silent_about, untrained, within
from hydra import compose, initialize_config_dir, version
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

import gmask_pl
from gmask_pl.api import NotExplained, PairExplainer, Truncated
from gmask_pl.data.in_memory import texts_of
from gmask_pl.explanation import Explanation
from gmask_pl.loops import ExplainLoop
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.bert_tiny import TinyBert
from gmask_pl.store import read_explanations
from gmask_pl.types import UserError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("weights")
    untrained("bert_tiny").save(folder)
    return folder


def settings(weights: Path, *others: str) -> list[str]:
    labels = f"[{','.join(LABELS)}]"
    own = ("dataset=pairs", f"dataset.labels={labels}", "model=bert_tiny", f"weights={weights}")
    return [*own, "explainer=gmask_two_sided", "batch_size=2", *others]


@pytest.mark.slow
def test_it_says_what_a_run_says(weights: Path, tmp_path: Path) -> None:
    rows = [{"id": f"row {i}", "text1": one, "text2": two} for i, (one, two) in enumerate(TEXTS)]
    lines = (json.dumps(row) + "\n" for row in reversed(rows))
    (tmp_path / "my.jsonl").write_text("".join(lines), "utf-8")
    run = within(
        str(CONF.parent / "explain.py"),
        tmp_path,
        *settings(weights, "dataset.path=my.jsonl", "metric=[aopc]"),
    )
    assert run.returncode == 0, run.stderr
    (kept,) = tmp_path.glob("outputs/explain/*/*/*/explanations.parquet")
    explain = PairExplainer.from_config(*settings(weights))
    found = explain.many(TEXTS)
    assert explain.labels == LABELS
    for own, other in zip(found, reversed(list(read_explanations(kept))), strict=True):
        assert own.words == other.words
        assert own.groups
        assert other.groups
        assert own.groups.candidates == other.groups.candidates
        assert np.allclose(own.groups.phi, other.groups.phi, atol=1e-4)  # another batch rounds
        assert own.scores == pytest.approx(other.scores, abs=1e-6)
        assert own.words == own.words1 + own.words2
    (alone,) = explain.many(TEXTS[2:])
    assert alone.scores == pytest.approx(found[2].scores, abs=1e-6)
    assert (found[2].id, alone.id) == ("3", "1")  # a name, no more
    assert explain.many([]) == []


def test_what_cannot_be_explained_is_told_with_what_can(weights: Path) -> None:
    explain = PairExplainer.from_config(*settings(weights, "explainer=occlusion"))
    with pytest.raises(NotExplained, match="pair 1: text 1 is empty") as error:
        explain.many([("  ", "a dog"), TEXTS[0]])
    assert [e and e.id for e in error.value.explanations] == [None, "2"]
    assert list(error.value.reasons) == [0]
    with pytest.raises(NotExplained, match="pair 3: text 2 is empty: ''; 1 more") as error:
        explain.many([("a dog", "")] * 4)
    assert error.value.explanations == [None] * 4
    silent_about(explain.classifier, holds(explain.classifier, "dog"))
    with pytest.raises(NotExplained, match="pair 2: the model's answer is not a") as error:
        explain.many([("a man", "a cat"), ("a dog", "a cat"), ("a man", "a man")])
    assert [e and e.id for e in error.value.explanations] == ["1", None, "3"]


def test_what_cannot_be_asked_is_told(weights: Path, tmp_path: Path) -> None:
    explain = PairExplainer.from_config(*settings(weights, "explainer=occlusion"))
    assert len(explain.many([("half \ud800", "a dog")])) == 1
    with pytest.raises(UserError, match="batch_size=0: give a whole number"):
        PairExplainer.from_config(*settings(weights, "batch_size=0"))
    with pytest.raises(UserError, match="trainer.devices=2: pairs from Python need 1"):
        PairExplainer.from_config(*settings(weights, "trainer.devices=2"))
    with pytest.raises(UserError, match="no weights at .*: give weights=FOLDER"):
        PairExplainer.from_config("model=bert_tiny", f"output={tmp_path}")


@pytest.fixture(scope="module")
def explain(weights: Path) -> PairExplainer:
    """By occlusion, which asks the model alone."""
    return PairExplainer.from_config(*settings(weights, "explainer=occlusion"))


@pytest.fixture(scope="module")
def differentiate(weights: Path) -> PairExplainer:
    return PairExplainer.from_config(*settings(weights, "explainer=imask", "explainer.epochs=2"))


def close(found: list[Explanation], expected: list[Explanation]) -> bool:
    assert [e.words for e in found] == [e.words for e in expected]
    scores = [score for e in found for score in e.scores]
    return scores == pytest.approx([score for e in expected for score in e.scores], abs=1e-6)


PAIR = {"text1": "a man", "text2": "a dog"}


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        ([("a", "b"), PAIR], r"pair 2: \{'text1': .*, 'text2': .*\} \(dict\): give a list"),
        (PAIR, r"pairs: \{'text1'.* \(dict\)"),
        (("a man", "a dog"), r"pairs: \('a man', 'a dog'\) is one pair by itself"),
        (["a man", "a dog"], "is one pair by itself"),
        ("a man", r"pairs: 'a man' \(str\)"),
        (b"a man", r"pairs: b'a man' \(bytes\)"),
        (7, r"pairs: 7 \(int\)"),
        (None, "pairs: None: give"),
        ({("a", "b")}, "pairs: a set"),
        (["ab", "cd", "ef"], r"pair 1: 'ab' \(str\); pair 2: .*; pair 3: 'ef' \(str\): give"),
        ([("a", "b", "c")], r"pair 1: \['a', 'b', 'c'\] has 3 parts"),
        ([()], r"pair 1: \[\] has 0 parts"),
        ([("a", 3)], r"pair 1: text 2 is 3 \(int\)"),
        ([("a", True)], r"pair 1: text 2 is True \(bool\)"),
        ([(b"a", "b")], r"pair 1: text 1 is b'a' \(bytes\)"),
        ([(["a"], ["b"])], r"pair 1: text 1 is \['a'\] \(list\)"),
        ([3, ("a", "b"), None, 5.0, 6], r"pair 1: 3 \(int\); pair 3: None; pair 4: .*; 1 more: "),
        ([{"a", "b"}], "pair 1: a set"),
        ([np.array(["a", "b"])], "pair 1: a ndarray"),
    ],
)
def test_what_is_no_pair_of_strings_is_an_error_that_says_where(
    explain: PairExplainer, pairs: Any, why: str
) -> None:
    with (
        mock.patch.object(explain, "_explain", side_effect=AssertionError),
        pytest.raises(UserError, match=why) as error,
    ):
        explain.many(pairs)
    assert not isinstance(error.value, NotExplained)


TABLES: dict[str, Any] = {
    "pandas": lambda module, data: module.DataFrame(data),
    "pyarrow": lambda module, data: module.table(data),
    "datasets": lambda module, data: module.Dataset.from_dict(data),
}


def test_ids_and_labels_of_a_table_are_checked(explain: PairExplainer) -> None:
    pandas = pytest.importorskip("pandas")
    one, two = zip(*TEXTS, strict=True)
    table = pandas.DataFrame({"text1": one, "text2": two, "name": [5, 6, 5], "gold": [0, 1, 9]})
    assert [(e.id, e.label) for e in explain.many(table)] == [("1", None), ("2", None), ("3", None)]
    with pytest.raises(UserError, match="id '5' is that of pair 1 and of pair 3"):
        explain.many(table, id="name")
    with pytest.raises(UserError, match=f"label of pair 3 is 9, .* labels are {', '.join(LABELS)}"):
        explain.many(table, label="gold")
    with pytest.raises(UserError, match="no column 'nam'; did you mean name"):
        explain.many(table, id="nam")
    with pytest.raises(UserError, match="id=name: these are columns of a table"):
        explain.many(TEXTS, id="name")
    with pytest.raises(NotExplained) as told:
        explain.many(table.assign(text2=["a dog", "", "a cat"], id=["x", "y", "z"]))
    assert told.value.reasons.keys() == {1}
    assert [e and e.id for e in told.value.explanations] == ["x", None, "z"]
    scored = PairExplainer(lambda pairs: [float(len(a)) for a, _ in pairs], method="random")
    assert [e.label for e in scored.many(table.assign(label=[3.5, 0.1, 1]))] == [None] * 3


def test_one_pair_has_a_progress_bar_where_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    explain = PairExplainer(lambda pairs: [float(len(a)) for a, _ in pairs], method="random")
    explain(*TEXTS[0])
    assert "Predicting" not in "".join(capsys.readouterr())
    explain(*TEXTS[0], progress=True)
    assert "Predicting" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"method": "typo"}, "method=typo: there is no such method"),
        ({"budget": 3}, "budget=3: JointGroups needs at least 32"),
        ({"batch_size": 0}, "PairExplainer.batch_size=0: give a whole number from 1"),
        ({"max_length": 0}, "PairExplainer.max_length=0: give a whole number from 1"),
        ({"unit": "letter"}, "unit='letter': choose one of"),
        ({"device": "abacus"}, "device=abacus: give a device"),
        ({"trainer": {"precision": "64"}}, "trainer.precision=64"),
        ({"mehtod": "lime"}, "mehtod"),
    ],
)
def test_wrong_settings_are_told_before_a_model_is_loaded(
    weights: Path, wrong: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gmask_pl.api.stored_model", lambda *named, **given: pytest.fail("loaded"))
    with pytest.raises((UserError, TypeError), match=why):
        PairExplainer.from_pretrained(weights, **wrong)


@pytest.mark.parametrize("library", TABLES)
def test_a_table_is_explained_by_its_columns(explain: PairExplainer, library: str) -> None:
    module = pytest.importorskip(library)
    one, two = zip(*TEXTS, strict=True)
    expected = explain.many(TEXTS)
    make = TABLES[library]
    assert close(explain.many(make(module, {"text1": one, "other": two, "text2": two})), expected)
    named = make(module, {"premise": one, "claim": two})
    assert close(explain.many(named, text1="premise", text2="claim"), expected)
    with pytest.raises(UserError, match="no column 'text1'.* There are 'premise', 'claim'"):
        explain.many(named)
    with pytest.raises(UserError, match="no column 'premis'; did you mean premise"):
        explain.many(named, text1="premis", text2="claim")
    with pytest.raises(UserError, match="text1=premise: these are columns of a table"):
        explain.many(TEXTS, text1="premise")
    with pytest.raises(NotExplained, match="pair 2: text 1 is missing"):
        explain.many(make(module, {"text1": ["a", None], "text2": ["b", "c"]}))
    of_files = {"id": ["a", None, 7], "label": [LABELS[2], None, LABELS[0]]}
    known = {"text1": one, "text2": two, "id": ["a", "b", "c"], "label": of_files["label"]}
    found = explain.many(make(module, known))
    assert [(e.id, e.label) for e in found] == [("a", 2), ("b", None), ("c", 0)]
    assert close(found, expected)
    if library == "pandas":
        mixed = explain.many(make(module, known | of_files | {"label": [2, None, -1]}))
        assert [(e.id, e.label) for e in mixed] == [("a", 2), ("2", None), ("7", None)]
        table = make(module, {"text1": one, "text2": two})
        assert close(explain.many(table.itertuples(index=False)), expected)
        assert close(explain.many(table.to_numpy().tolist()), expected)


def test_any_list_of_pairs_is_explained(explain: PairExplainer) -> None:
    expected = explain.many(TEXTS)
    assert close(explain.many(pair for pair in TEXTS), expected)
    assert close(explain.many([list(pair) for pair in TEXTS]), expected)
    assert close(explain.many(OmegaConf.create([list(pair) for pair in TEXTS])), expected)  # type: ignore[arg-type]
    assert close(explain.many([(np.str_(one), np.str_(two)) for one, two in TEXTS]), expected)


def test_a_missing_text_is_a_failed_pair(explain: PairExplainer) -> None:
    pairs: list[Any] = [(None, "a dog"), TEXTS[1], ("a man", math.nan), ("", "a dog")]
    with pytest.raises(NotExplained, match="pair 1: text 1 is missing; pair 3: text 2") as error:
        explain.many(pairs)
    assert [e and e.id for e in error.value.explanations] == [None, "2", None, None]
    assert list(error.value.reasons) == [0, 2, 3]


def test_truncation_is_said(explain: PairExplainer) -> None:
    long = ("a man " * 60, "a dog")
    with pytest.warns(Truncated, match=r"1 of 3 pairs are longer .* \(pair 2\)") as told:
        found = explain.many([TEXTS[0], long, TEXTS[1]])
    assert [e.truncated for e in found] == [False, True, False]
    assert told[0].filename == __file__
    with pytest.warns(Truncated), pytest.raises(NotExplained):
        explain.many([long, ("", "")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain.many(TEXTS)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("explainer=gmsk", "explainer=gmsk: there is no such choice; did you mean gmask"),
        ("explainer.kk=3", "explainer.kk=3: there is no such setting; did you mean explainer.k?"),
        ("+explainer.foo=3", "explainer.foo=3: there is no such setting"),
        ("explainer=gmask,lime", "Ambiguous value for argument"),
        ("unit=${nope}", "Interpolation key 'nope' not found"),
        ("a b", "a b"),
        ("explainer.k=1", "explainer.k=1: give a whole number from 2"),
        ("dataset.labels=[a]", "give at least two different label names"),
    ],
)
def test_wrong_settings_are_errors_of_the_project(weights: Path, wrong: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as error:
        PairExplainer.from_config(*settings(weights, wrong))
    assert "\n" not in str(error.value)
    assert "Config search path" not in str(error.value)


def test_a_list_of_settings_is_told_how_to_be_given(weights: Path) -> None:
    with pytest.raises(UserError, match=r"from_config\(\*settings\)"):
        PairExplainer.from_config(settings(weights))  # type: ignore[arg-type]


def test_gradients_and_modes_of_the_caller_change_nothing(
    weights: Path, differentiate: PairExplainer
) -> None:
    expected = differentiate.many(TEXTS)
    with torch.inference_mode():
        assert close(differentiate.many(TEXTS), expected)
        made = PairExplainer.from_config(
            *settings(weights, "explainer=imask", "explainer.epochs=2")
        )
        assert torch.is_inference_mode_enabled()
    assert close(made.many(TEXTS), expected)
    with torch.no_grad():
        assert close(differentiate.many(TEXTS), expected)
        assert not torch.is_grad_enabled()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert close(differentiate.many(TEXTS), expected)
        assert torch.is_autocast_enabled("cpu")
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        assert close(differentiate.many(TEXTS), expected)
        assert (torch.get_default_dtype(), torch.get_default_device().type) == (
            torch.float64,
            "meta",
        )
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device("cpu")  # after None, torch 2.6 could not name it


def test_threads_share_an_explainer_and_have_several(
    explain: PairExplainer, differentiate: PairExplainer
) -> None:
    expected = [explain.many(TEXTS), differentiate.many(TEXTS)]
    before = switches()
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit((explain, differentiate)[i % 2].many, TEXTS) for i in range(8)]
        for i, call in enumerate(calls):
            assert close(call.result(), expected[i % 2])
    assert switches() == before


def test_explainers_are_made_in_threads_side_by_side(weights: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        names = ("occlusion", "random", "lime")
        made = [
            threads.submit(PairExplainer.from_config, *settings(weights, f"explainer={n}"))
            for n in names
        ]
        found = [type(call.result().explainer).__name__ for call in made]
    assert found == ["Occlusion", "Random", "Lime"]


def test_it_works_within_another_hydra_application(weights: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.2"):
        hydra = GlobalHydra.instance()
        explain = PairExplainer.from_config(*settings(weights, "explainer=occlusion"))
        assert GlobalHydra.instance() is hydra
        assert compose("explain", ["seed=7"]).seed == 7
        assert str(version.getbase()) == "1.2"
    assert len(explain.many(TEXTS)) == 3


def switches() -> dict[str, Any]:
    """What a process has only one of, read apart from how the API keeps it."""
    logs = logging.root.manager.loggerDict
    return {
        "random": random.getstate(),
        "numpy": str(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": [getattr(torch.backends.cudnn, name) for name in ("benchmark", "deterministic")],
        "precision": torch.get_float32_matmul_precision(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "levels": {
            name: (log.level, log.disabled)
            for name, log in [("", logging.root), *logs.items()]
            if isinstance(log, logging.Logger) and (log.level or log.disabled)
        },
        "bars": (
            transformers.utils.logging.is_progress_bar_enabled(),
            huggingface_hub.utils.are_progress_bars_disabled(),
        ),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "hydra": GlobalHydra.instance().is_initialized(),
        "resolvers": set(BaseContainer._resolvers),
    }


@pytest.mark.parametrize("explainer", ["gmask_two_sided", "imask"])
def test_what_the_process_has_one_of_is_as_it_was(
    weights: Path, explainer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"imask": ["explainer.epochs=2"]}.get(explainer, ["explainer.fit.epochs=5"])
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setenv("PL_GLOBAL_SEED", "77")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    logging.getLogger("pytorch_lightning").setLevel(logging.DEBUG)
    OmegaConf.register_new_resolver("given", lambda *values: "mine", replace=True)
    try:
        before = switches()
        explain = PairExplainer.from_config(*settings(weights, f"explainer={explainer}", *short))
        assert switches() == before
        assert OmegaConf.create({"a": "${given:1,2}"}).a == "mine"
        first = explain.many(TEXTS)
        assert switches() == before
        with pytest.raises(NotExplained):
            explain.many([("", "")])
        faulty = mock.patch.object(ExplainLoop, "explain", side_effect=RuntimeError("a fault"))
        with faulty, pytest.raises(RuntimeError, match="a fault"):
            explain.many(TEXTS)
        assert switches() == before
        random.seed(3), np.random.seed(3), torch.manual_seed(3)
        assert close(explain.many(TEXTS), first)
    finally:
        OmegaConf.clear_resolver("given")
        logging.getLogger("pytorch_lightning").setLevel(logging.INFO)


def test_an_interrupt_stays_one(explain: PairExplainer) -> None:
    before = switches()
    with (
        mock.patch.object(ExplainLoop, "explain", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        explain.many(TEXTS)
    assert switches() == before


def test_an_explainer_and_what_it_says_can_be_pickled(differentiate: PairExplainer) -> None:
    found = differentiate.many(TEXTS)
    assert pickle.loads(pickle.dumps(found)) == found
    assert close(pickle.loads(pickle.dumps(differentiate)).many(TEXTS), found)


@pytest.mark.slow
def test_a_spawned_process_explains_with_what_it_is_handed(explain: PairExplainer) -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert close(pool.submit(explain.many, TEXTS).result(600), explain.many(TEXTS))
        with pytest.raises(NotExplained) as error:
            pool.submit(explain.many, [("", "a dog"), TEXTS[0]]).result(600)
    assert [e and e.id for e in error.value.explanations] == [None, "2"]


def errors_of_the_project() -> list[type[Exception]]:
    names = [m.name for m in pkgutil.walk_packages(gmask_pl.__path__, "gmask_pl.")]
    modules = [importlib.import_module(name) for name in names]
    return sorted(
        {
            kind
            for module in modules
            for _, kind in inspect.getmembers(module, inspect.isclass)
            if issubclass(kind, Exception) and kind.__module__.startswith("gmask_pl")
        },
        key=lambda kind: kind.__name__,
    )


def test_every_error_of_the_project_comes_back_from_another_process_whole() -> None:
    values = {
        "explanations": [None],
        "reasons": {0: "no words"},
        "ids": ["a"],
        "place": "my.jsonl:3",
        "reason": "no words",
        "row": 4,
    }
    kinds = errors_of_the_project()
    names = {"BrokenRow", "MissingSplit", "NotExplained", "PairsFailed", "Refused", "TooLong"}
    assert names < {kind.__name__ for kind in kinds}
    for kind in kinds:
        own = inspect.signature(kind.__init__).parameters.values()
        given = [
            values[p.name] for p in own if p.kind is p.POSITIONAL_OR_KEYWORD and p.name in values
        ]
        error = kind(*(given or ["why"]))
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is kind
        assert (str(back), vars(back)) == (str(error), vars(error))
        assert re.search("why|no words", str(back))


@pytest.mark.parametrize("name", ["iba", "l2x"])
def test_an_explainer_that_learns_asks_for_training_pairs(
    name: str, weights: Path, tmp_path: Path
) -> None:
    own = (f"explainer={name}", f"output={tmp_path}")
    with pytest.raises(UserError) as error:
        PairExplainer.from_config(*settings(weights, *own))
    told = str(error.value)
    assert "learns from training pairs" in told
    assert "dataset.path=FOLDER with a train" in told
    rows = ({"text1": one, "text2": two} for one, two in TEXTS)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    quick = {"iba": "explainer.tokens=20", "l2x": "explainer.epochs=1"}[name]
    explain = PairExplainer.from_config(*settings(weights, *own, quick, f"dataset.path={tmp_path}"))
    assert len(explain.many(TEXTS)) == len(TEXTS)


def test_objects_say_what_settings_say(weights: Path) -> None:
    settled = PairExplainer.from_config(*settings(weights))
    expected = settled.many(TEXTS)
    model = TinyBert.from_weights(weights)
    explainer = explainer_of("gmask_two_sided")
    found = PairExplainer(model, method=explainer, batch_size=2).many(TEXTS)
    assert [replace(e, seconds=0) for e in found] == [replace(e, seconds=0) for e in expected]
    in_memory = BertPairClassifier.from_network(model.network, model.tokenizer)
    assert in_memory.labels == LABELS
    again = PairExplainer(in_memory, method=explainer, batch_size=2, trainer={"accelerator": "cpu"})
    assert [e.scores for e in again.many(TEXTS)] == [e.scores for e in expected]


def test_model_and_explainer_stay_as_they_were(weights: Path) -> None:
    model = TinyBert.from_weights(weights).train()
    explainer = explainer_of("occlusion")
    explainer.removal = None
    before = vars(explainer) | {}
    explain = PairExplainer(model, method=explainer)
    explain.many(TEXTS)
    assert vars(explainer) == before
    assert explain.explainer.removal == "pad"
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"batch_size": 0}, "PairExplainer.batch_size=0: give a whole number from 1"),
        ({"unit": "letter"}, "unit='letter': choose one of word, token, sentence"),
        ({"trainer": {"devices": 2}}, "trainer.devices=2: pairs from Python need 1"),
        ({"trainer": {"precision": "64"}}, "trainer.precision=64 .* bf16-mixed"),
        ({"trainer": {"accelerator": "abacus"}}, "trainer: .*abacus"),
    ],
)
def test_wrong_objects_are_errors_of_the_project(
    weights: Path, wrong: dict[str, Any], why: str
) -> None:
    with pytest.raises(UserError, match=why):
        PairExplainer(TinyBert.from_weights(weights), method=explainer_of("random"), **wrong)


def test_training_pairs_are_given_as_texts(weights: Path, tmp_path: Path) -> None:
    model = TinyBert.from_weights(weights)
    explainer = explainer_of("iba", "explainer.tokens=20")
    for pairs in ((), [("", "a dog")]):
        with pytest.raises(UserError, match="IBA learns from training pairs.*training_pairs="):
            PairExplainer(model, method=explainer, training_pairs=pairs)
    explain = PairExplainer(model, method=explainer, training_pairs=TEXTS)
    with pytest.raises(UserError, match="has learnt to explain probability of the predicted class"):
        explain(*TEXTS[0], target=model.labels[1])
    with pytest.raises(UserError, match="and not the difference of two documents"):
        explain.compare("a", "b", "c")
    kept = PairExplainer(model, method=explainer, training_pairs=TEXTS, learnt=tmp_path)
    assert list(tmp_path.glob("iba/*/weights.safetensors"))
    assert explainer.mean is None
    assert close(kept.many(TEXTS), explain.many(TEXTS))


def test_answers_are_kept_for_the_weights_that_gave_them(weights: Path, tmp_path: Path) -> None:
    model = TinyBert.from_weights(weights)
    explain = PairExplainer(model, method=explainer_of("occlusion"), cache=tmp_path)
    first = explain.many(TEXTS)
    with mock.patch.object(MaskedModel, "_ask", side_effect=AssertionError):
        assert close(explain.many(TEXTS), first)
    with torch.no_grad():
        model.network.classifier.weight.mul_(2.0)
    assert explain.many(TEXTS)[0].probabilities != first[0].probabilities


def test_an_explanation_is_read_in_many_ways(weights: Path) -> None:
    found = PairExplainer.from_pretrained(weights, budget=100)(*TEXTS[0])
    told = found.to_dict()
    assert told == json.loads(found.to_json())
    assert tuple(told["words1"]) == found.words1
    assert found.groups
    assert told["groups"]["psi"] == list(found.groups.psi)
    frame = found.to_frame()
    assert frame["word"].tolist() == list(found.words)
    assert frame["score"].tolist() == list(found.scores)
    assert frame["side"].tolist() == [1] * len(found.words1) + [2] * len(found.words2)
    assert frame["position"].tolist() == [*range(len(found.words1)), *range(len(found.words2))]
    assert sorted(frame[frame["group"] == 0]["word"]) == sorted(found.top_group)
    assert [score for _, score in found.top(2)] == sorted(found.scores, reverse=True)[:2]
    unknown = replace(found, seconds=math.nan)
    assert unknown.to_dict()["seconds"] is None


def test_the_error_of_a_pair_alone_names_no_others() -> None:
    assert str(NotExplained([None], {0: "text 1 is empty: ''"})) == "pair 1: text 1 is empty: ''"


class _Stream:
    """A table that is known by Arrow's protocol alone."""

    def __init__(self, **columns: list[Any]) -> None:
        self.table = pa.table(columns)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


class _Frame:
    """As polars has one: columns, a column by its name, and its values by to_list."""

    def __init__(self, **columns: list[Any]) -> None:
        self.own, self.columns = columns, list(columns)

    def __getitem__(self, name: str) -> Any:
        return mock.Mock(spec=["to_list"], to_list=lambda: self.own[name])

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("kind", [_Stream, _Frame])
def test_a_table_is_known_by_its_protocol(kind: Any) -> None:
    table = kind(text1=["a", None], n=[1, 2], other=["b", "c"])
    assert texts_of(table, text2="other") == [("a", "b"), (None, "c")]
    with pytest.raises(UserError, match="no column 'text2'.* There are 'text1', 'n', 'other'"):
        texts_of(table)
    lazy = mock.MagicMock(spec=["columns", "__getitem__"], columns=["text1", "text2"])
    lazy.__getitem__.side_effect = TypeError("LazyFrame is not subscriptable")
    with pytest.raises(UserError, match="has no columns of texts yet .LazyFrame is not subscript"):
        texts_of(lazy)
