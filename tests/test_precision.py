"""Half precision, as trainer=gpu computes in, changes explanations less than chance does."""

from __future__ import annotations

import pytest
import torch
from conftest import explainer_of, make_example
from scipy.stats import kendalltau
from torch import Tensor

from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.metrics.faithfulness.aopc import AOPC
from gmask_pl.metrics.pair_metric import evaluate
from gmask_pl.models.pair_classifier import PairClassifier

WORDS = [
    "a",
    "man",
    "plays",
    "the",
    "electric",
    "guitar",
    "on",
    "stage",
    "two",
    "dogs",
    "are",
    "running",
    "outside",
    "today",
]


@pytest.fixture
def masked(responsive: PairClassifier) -> MaskedModel:
    generator = torch.Generator().manual_seed(0)

    def text() -> str:
        drawn = torch.randint(len(WORDS), (6,), generator=generator).tolist()
        return " ".join(WORDS[i] for i in drawn)

    examples = [make_example(str(i), text(), text()) for i in range(20)]
    return MaskedModel(responsive, responsive.encoder("word")(examples), "pad", token_budget=4096)


def scores(masked: MaskedModel, name: str, *overrides: str) -> Tensor:
    return explainer_of(name, "explainer.removal=pad", *overrides)(masked).scores


def in_half(masked: MaskedModel, name: str, *overrides: str) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return scores(masked, name, *overrides)


def likeness(one: Tensor, other: Tensor) -> float:
    """The mean Kendall tau between two rankings of the words of every pair."""
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    return float(sum(kendalltau(a, b).statistic for a, b in pairs) / len(one))


def test_answers_differ_by_rounding(masked: MaskedModel) -> None:
    keep = masked.batch.word_valid[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        half = masked.logits(keep).softmax(-1)
    assert half.dtype == torch.float32
    difference = (half - masked.logits(keep).softmax(-1)).abs().max()
    assert 0 < difference < 0.1  # logits of about 10 have 8 bits


def test_lime_ranks_alike_but_for_its_own_noise(masked: MaskedModel) -> None:
    few = ("lime", "explainer.samples=200")
    first, second = (scores(masked, *few, f"explainer.seed={seed}") for seed in (0, 1))
    half = in_half(masked, *few, "explainer.seed=0")
    assert likeness(first, half) > likeness(first, second)
    assert likeness(first, half) > 0.9


@pytest.mark.parametrize("name", ["occlusion", "gmask_two_sided"])
def test_rankings_lose_no_aopc(masked: MaskedModel, name: str) -> None:
    """Measured in float32 on the same pairs: less than what bfloat16 rounds off an answer."""
    few = ("explainer.k=5", "explainer.word_filter.samples_per_word=8")
    small = few if name != "occlusion" else ()
    areas = [aopc(masked, ranked(masked, name, *small)) for ranked in (scores, in_half)]
    assert areas[0] > 0.05
    assert abs(areas[0] - areas[1]) < 0.01


def aopc(masked: MaskedModel, ranking: Tensor) -> float:
    metric = AOPC(max_removed=5, resamples=10, seed=0)
    rows = evaluate(
        {"aopc": metric},
        lambda keep: masked.logits(keep).softmax(-1),
        ranking,
        masked.batch.word_valid,
        masked.probabilities,
    )
    return float(metric.result(rows["aopc"])["value"])
