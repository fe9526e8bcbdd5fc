"""Explanations from Python: those of explain.py, and clear errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import CONF, LABELS, TEXTS, holds, silent_about, untrained, within

from gmask_pl.api import NotExplained, PairExplainer
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
    lines = (json.dumps({"text1": one, "text2": two}) + "\n" for one, two in TEXTS)
    (tmp_path / "my.jsonl").write_text("".join(lines), "utf-8")
    run = within(
        str(CONF.parent / "explain.py"),
        tmp_path,
        *settings(weights, "dataset.path=my.jsonl", "metric=[aopc]"),
    )
    assert run.returncode == 0, run.stderr
    (kept,) = tmp_path.glob("outputs/explain/*/*/*/explanations.parquet")
    explain = PairExplainer(*settings(weights))
    found = explain(TEXTS)
    assert explain.labels == LABELS
    for own, other in zip(found, read_explanations(kept), strict=True):
        assert (own.id, own.words, own.groups) == (other.id, other.words, other.groups)
        assert own.scores == pytest.approx(other.scores, abs=1e-6)
        assert own.words == own.words1 + own.words2
    (alone,) = explain(TEXTS[:1])
    assert alone.scores == pytest.approx(found[0].scores, abs=1e-6)
    assert explain([]) == []


def test_what_cannot_be_explained_is_told_with_what_can(weights: Path) -> None:
    explain = PairExplainer(*settings(weights, "explainer=occlusion"))
    with pytest.raises(NotExplained, match="pair 1: text 1 is empty") as error:
        explain([("  ", "a dog"), TEXTS[0]])
    assert [e and e.id for e in error.value.explanations] == [None, "2"]
    assert list(error.value.reasons) == [0]
    with pytest.raises(NotExplained, match="pair 3: text 2 is empty: ''; 1 more") as error:
        explain([("a dog", "")] * 4)
    assert error.value.explanations == [None] * 4
    silent_about(explain.classifier, holds(explain.classifier, "dog"))
    with pytest.raises(NotExplained, match="pair 2: the model's answer is not a") as error:
        explain([("a man", "a cat"), ("a dog", "a cat"), ("a man", "a man")])
    assert [e and e.id for e in error.value.explanations] == ["1", None, "3"]


def test_what_cannot_be_asked_is_told(weights: Path, tmp_path: Path) -> None:
    explain = PairExplainer(*settings(weights, "explainer=occlusion"))
    assert len(explain([("half \ud800", "a dog")])) == 1
    with pytest.raises(UserError, match="batch_size=0: give a whole number"):
        PairExplainer(*settings(weights, "batch_size=0"))
    with pytest.raises(UserError, match="trainer.devices=2: pairs from Python need 1"):
        PairExplainer(*settings(weights, "trainer.devices=2"))
    with pytest.raises(UserError, match="no weights at .*: give weights=FOLDER"):
        PairExplainer("model=bert_tiny", f"output={tmp_path}")
