"""A GPU explains and scores as a processor does, but for rounding; skipped where there is none."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONF, context_of, explainer_of
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from gmask_pl.explanation import Explanation
from gmask_pl.loops import ExplainLoop, ScoreLoop
from gmask_pl.metrics.faithfulness.aopc import AOPC
from gmask_pl.metrics.faithfulness.degradation import Degradation
from gmask_pl.metrics.faithfulness.naopc import NormalisedAOPC
from gmask_pl.metrics.faithfulness.post_hoc_accuracy import PostHocAccuracy
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import PairExample, PairScore

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

EXPLAINERS = sorted(file.stem for file in (CONF / "explainer").glob("*.yaml"))
# Their scores are ranks, and of two orders whose worth differs by rounding either may be found.
SEARCHED = {"oracle", "oracle_lowest"}
DRAWN_ELSEWHERE = {"l2x"}  # the noise of its training, from the generator of the device
SMALL = {
    "gmask_released": ("explainer.sampling.samples=20",),
    "iba": ("explainer.tokens=20",),
    "l2x": ("explainer.k=2", "explainer.epochs=2"),
    "kernel_shap": ("explainer.samples=200",),
    "lime": ("explainer.samples=300",),
}


def trainer(accelerator: str, **settings: Any) -> Trainer:
    return Trainer(
        accelerator=accelerator,
        devices=1,
        precision="32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def explained(
    classifier: PairClassifier,
    examples: list[PairExample],
    name: str,
    accelerator: str,
    folder: Path,
) -> list[Explanation]:
    model = "dattn" if isinstance(classifier, DecomposableAttention) else "bert_tiny"
    explainer = explainer_of(name, f"model={model}", *SMALL.get(name, ()))
    encode = classifier.encoder("word")
    make = partial(trainer, accelerator)
    explainer.prepare(context_of(classifier, encode, examples, folder, trainer=make))
    found: list[Explanation] = []

    def keep(number: int, explanations: list[Explanation], failed: dict[str, str]) -> None:
        assert not failed
        found.extend(explanations)

    loop = ExplainLoop(classifier, explainer, [0], keep, token_budget=512)
    loader = DataLoader([encode(examples)], batch_size=None)
    make(inference_mode=False).predict(loop, loader, return_predictions=False)
    return found


def scored(
    classifier: PairClassifier,
    examples: list[PairExample],
    explanations: list[Explanation],
    accelerator: str,
) -> list[PairScore]:
    drawn = {"resamples": 10, "seed": 0}
    metrics = {
        "aopc": AOPC(max_removed=10, **drawn),
        "post_hoc_accuracy": PostHocAccuracy(max_words=10, **drawn),
        "degradation": Degradation(steps=10, min_denominator=0.01, **drawn),
        "naopc": NormalisedAOPC(
            max_removed=5, beam=2, exact_words=9, min_range=0.01, cache=None, **drawn
        ),
    }
    found: list[PairScore] = []

    def keep(number: int, rows: list[PairScore], failed: dict[str, str]) -> None:
        assert not failed
        found.extend(rows)

    loop = ScoreLoop(
        classifier,
        dict.fromkeys(("pad", "delete", "zero"), metrics),
        [0],
        lambda number: explanations,
        keep,
        token_budget=512,
    )
    loader = DataLoader([classifier.encoder("word")(examples)], batch_size=None)
    trainer(accelerator).predict(loop, loader, return_predictions=False)
    return found


def areas(
    classifier: PairClassifier, examples: list[PairExample], explanations: list[Explanation]
) -> list[float]:
    """AOPC of every pair under the removal that its model is explained with, on a processor."""
    removal = "zero" if isinstance(classifier, DecomposableAttention) else "pad"
    rows = scored(classifier, examples, explanations, "cpu")
    return [row.row[0] for row in rows if (row.metric, row.removal) == ("aopc", removal)]


@pytest.mark.parametrize("name", EXPLAINERS)
def test_explains_as_a_processor_does(
    responsive: PairClassifier, examples: list[PairExample], name: str, tmp_path: Path
) -> None:
    slow, fast = (
        explained(responsive, examples, name, accelerator, tmp_path / accelerator)
        for accelerator in ("cpu", "gpu")
    )
    if name in SEARCHED:
        worth = [areas(responsive, examples, found) for found in (slow, fast)]
        assert worth[1] == pytest.approx(worth[0], abs=1e-4)
    for one, other in zip(slow, fast, strict=True):
        assert (other.id, other.prediction) == (one.id, one.prediction)
        assert (other.gradients, len(other.scores)) == (one.gradients, len(one.scores))
        if name not in SEARCHED | DRAWN_ELSEWHERE:
            assert other.evaluations == one.evaluations
            assert other.scores == pytest.approx(one.scores, rel=5e-3, abs=5e-4)


def test_scores_as_a_processor_does(
    responsive: PairClassifier, examples: list[PairExample], tmp_path: Path
) -> None:
    explanations = explained(responsive, examples, "random", "cpu", tmp_path)
    slow, fast = (scored(responsive, examples, explanations, on) for on in ("cpu", "gpu"))
    assert slow
    for one, other in zip(slow, fast, strict=True):
        assert (one.id, one.removal, one.metric) == (other.id, other.removal, other.metric)
        assert other.row == pytest.approx(one.row, rel=1e-3, abs=1e-4)
