"""Small pairs and untrained models that tests share."""

from __future__ import annotations

import contextlib
import gc
import io
import math
import os
import re
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from hypothesis import Phase, settings
from pytorch_lightning import Trainer
from torch import Tensor

from gmask_pl import files
from gmask_pl.explainers.training_context import TrainingContext
from gmask_pl.models.bert_tiny import TinyBert
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.console import shown
from gmask_pl.types import ModelInput, PairExample

# shap compiles helpers that are run a few times on tiny pairs: compiling takes longer than they do.
os.environ["NUMBA_DISABLE_JIT"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"  # read at import

settings.register_profile("steady", max_examples=60, derandomize=True, deadline=None, database=None)
SEARCH = (Phase.explicit, Phase.generate)
settings.register_profile("fuzz", max_examples=5_500, phases=SEARCH, deadline=None, database=None)
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
HANG = 600  # seconds after which a process has hung; no test measures time
LABELS = ("entailment", "neutral", "contradiction")
# Of dataset=pairs: columns are called as its settings are.
UNNAMED: dict[str, None] = dict.fromkeys(("text1", "text2", "label", "id", "segment"))
OPTIMIZER = {
    "lr": 1e-3,
    "weight_decay": 0.0,
    "warmup": 0.1,
    "linear_decay": True,
    "word_dropout": 0.0,
}
TEXTS = (
    ("a man plays the electric guitar on stage .", "a man plays the banjo ."),
    ("two dogs run", "two animals are running outside today"),
    ("she sleeps", "nobody sleeps here"),
)


def pytest_collection_finish() -> None:
    """What is imported stays: the collector of garbage need not look through it again."""
    gc.collect()
    gc.freeze()


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "thesis.txt").write_text("mine")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3]),
    "garbage": lambda path: path.write_bytes(bytes(range(7, 207))),
    "a folder": folder_instead,
}


def explainer_of(name: str, *overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("explain", [f"explainer={name}", *overrides])
    return instantiate(cfg.explainer)


def context_of(
    classifier: Any, encode: Any, examples: Sequence[PairExample], folder: Path, **changes: Any
) -> TrainingContext:
    """Training on ``examples`` by the processor; what is learnt is kept in ``folder``."""

    def trainer(**settings: Any) -> Trainer:
        return Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )

    settings: dict[str, Any] = {
        "classifier": classifier,
        "encode": encode,
        "train": lambda: examples,
        "labels": LABELS,
        "removal": "pad",
        "trainer": trainer,
        "token_budget": 4096,
        "batch_size": 50,
        "workers": 0,
        "folder": folder,
        "identity": {"model": "test"},
    }
    return TrainingContext(**settings | changes)


def within(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a script, or a module, does in this process, which has imported everything before."""
    told, complained, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.dict(os.environ),  # Lightning leaves some
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(told),
        contextlib.redirect_stderr(complained),
    ):
        patch.chdir(folder)
        patch.syspath_prepend(ROOT)
        patch.setattr(sys, "argv", [script, *arguments])
        try:
            if script.endswith(".py"):
                runpy.run_path(script, run_name="__main__")
            else:
                runpy.run_module(script, run_name="__main__", alter_sys=False)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            GlobalHydra.instance().clear()
    return subprocess.CompletedProcess(
        [script, *arguments], code, told.getvalue(), complained.getvalue()
    )


def make_example(name: str, text1: str, text2: str, label: int | None = 0) -> PairExample:
    spans = [tuple(m.span() for m in re.finditer(r"\S+", text)) for text in (text1, text2)]
    return PairExample(name, text1, text2, spans[0], spans[1], label)


def kept(found: dict[int, Any]) -> Callable[[int, Any, dict[str, str]], None]:
    """What a loop hands its batches to: they come to ``found``; no pair may fail."""

    def keep(number: int, batch: Any, failed: dict[str, str]) -> None:
        assert not failed
        found[number] = batch

    return keep


@pytest.fixture(autouse=True)
def _warned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was warned of before."""
    monkeypatch.setattr(files, "_WARNED", set())


@pytest.fixture(autouse=True)
def _shown() -> Iterator[None]:
    """Messages are shown, as the commands show them."""
    with shown():
        yield


@pytest.fixture
def examples() -> list[PairExample]:
    return [make_example(f"pair-{i}", *texts) for i, texts in enumerate(TEXTS)]


@pytest.fixture(params=["dattn", "bert_tiny"])
def classifier(request: pytest.FixtureRequest) -> PairClassifier:
    return untrained(request.param)


def untrained(kind: str) -> PairClassifier:
    """An untrained model of either kind, with weights large enough to have opinions."""
    torch.manual_seed(0)
    # "banjo" and "outside" stay unknown, so that some words are several pieces or none.
    words = Counter(w for pair in TEXTS for text in pair for w in text.split())
    del words["banjo"], words["outside"]
    model: PairClassifier
    if kind == "dattn":
        model = DecomposableAttention.from_data(
            labels=LABELS,
            word_counts=words,
            embeddings=None,
            embedding_size=12,
            hidden_size=16,
            dropout=0.0,
            embedding_dropout=0.0,
            embedding_std=1.0,
            **OPTIMIZER,
        )
    else:
        model = TinyBert.from_data(
            labels=LABELS,
            word_counts=words,
            vocabulary_size=60,
            hidden_size=16,
            layers=2,
            heads=2,
            intermediate_size=32,
            dropout=0.0,
            initializer_range=0.02,
            max_length=64,
            **OPTIMIZER,
        )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
    model.requires_grad_(False)
    return model.eval()


@pytest.fixture
def responsive(classifier: PairClassifier) -> PairClassifier:
    """The same models at weights where answers are neither flat nor saturated."""
    factor = 0.7 if isinstance(classifier, DecomposableAttention) else 5.0
    for parameter in classifier.parameters():
        if factor < 1 or parameter.dim() > 1:
            parameter.mul_(factor)
    return classifier


def silent_about(classifier: PairClassifier, when: Callable[[ModelInput], Tensor]) -> None:
    """Makes the answers to some rows (N,) bool of its inputs no numbers."""

    def hook(module: Any, inputs: tuple[ModelInput], logits: Tensor) -> Tensor:
        return torch.where(when(inputs[0])[:, None], math.nan, logits)

    classifier.register_forward_hook(hook)


def holds(classifier: PairClassifier, word: str) -> Callable[[ModelInput], Tensor]:
    """Whether a row holds the word: all its pieces, one after the other."""
    batch = classifier.encoder("word")([make_example("one", word, word)])
    pieces = batch.token_ids[batch.word_of_token == 0]

    def held(inputs: ModelInput) -> Tensor:
        seen = torch.where(inputs.attention > 0, inputs.token_ids, -1)
        return (seen.unfold(1, len(pieces), 1) == pieces).all(2).any(1)

    return held
