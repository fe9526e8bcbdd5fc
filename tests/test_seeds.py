"""The same pair has the same explanation wherever it stands."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CONF, TEXTS, context_of, explainer_of, make_example, untrained

from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import Attributions, Groups, PairExample

# Fewer samples and steps where an explainer takes long by default.
QUICKER = {
    "gmask_released": ("explainer.sampling.samples=20", "explainer.fit.epochs=5"),
    "iba": ("explainer.tokens=20",),
    "l2x": ("explainer.train_pairs=3", "explainer.epochs=1"),
    "lime": ("explainer.samples=200",),
    "kernel_shap": ("explainer.samples=200",),
}
EXPLAINERS = sorted(path.stem for path in (CONF / "explainer").glob("*.yaml"))


@cache
def model() -> PairClassifier:
    """At weights where answers are neither flat nor saturated."""
    made = untrained("bert_tiny")
    for parameter in made.parameters():
        if parameter.dim() > 1:
            parameter.mul_(5.0)
    return made


def explained(explainer: Any, *pairs: PairExample) -> Attributions:
    batch = model().encoder("word")(pairs)
    found: Attributions = explainer(MaskedModel(model(), batch, "pad", token_budget=4096))
    return found


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_pair_has_one_explanation(name: str, tmp_path: Path) -> None:
    """Alone, after others, in another batch, twice in one batch, and under another id."""
    first, second, third = (make_example(f"{i}", *texts) for i, texts in enumerate(TEXTS))

    def made(seed: int) -> Any:
        explainer = explainer_of(name, "model=bert_tiny", f"seed={seed}", *QUICKER.get(name, ()))
        pairs = [first, second, third]
        explainer.prepare(context_of(model(), model().encoder("word"), pairs, tmp_path))
        return explainer

    explainer = made(0)
    n = len(first.words1 + first.words2)
    alone = explained(explainer, first)
    assert alone.scores.abs().max() > 1e-3
    renamed, again = replace(first, id="2"), replace(first, id="again")
    for batch in ((second, renamed), (third, second, again, first)):
        together = explained(explainer, *batch)
        for row, pair in enumerate(batch):
            if pair.text1 == first.text1:
                own, expected = together.scores[row, :n], alone.scores[0, :n]
                torch.testing.assert_close(own, expected, rtol=1e-4, atol=2e-5)
                assert alike(together.groups[row], alone.groups[0])
    if "seed" in vars(explainer):
        other = explained(made(1), first)
        assert not torch.equal(other.scores, alone.scores) or other.groups != alone.groups


def alike(one: Groups | None, other: Groups | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.candidates == other.candidates and np.allclose(one.phi, other.phi, atol=1e-3)


def test_what_a_pair_is_decides_what_is_drawn() -> None:
    one = make_example("0", *TEXTS[1])
    swapped = make_example("0", *reversed(TEXTS[1]))
    pieces = model().encoder("token")([make_example("0", *TEXTS[0])]).keys
    words = model().encoder("word")([make_example("0", *TEXTS[0])]).keys
    keys = model().encoder("word")([one, replace(one, id="7", label=2), swapped]).keys
    assert keys[0] == keys[1] != keys[2]
    assert pieces != words  # the unit is part of it
    shifted = [make_example("0", "a b", "c"), make_example("0", "a", "b c")]
    assert len(set(model().encoder("word")(shifted).keys)) == 2
