"""Training keeps the weights that were best on the dev split."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file

from gmask_pl.engine.train import CRITERION, BestWeights
from gmask_pl.models.base import PairClassifier


def test_the_best_weights_are_kept_not_the_last(classifier: PairClassifier, tmp_path: Path) -> None:
    keeper = BestWeights(tmp_path)
    parameter = next(p for name, p in classifier.named_parameters() if "classif" in name)
    name = next(n for n, p in classifier.named_parameters() if p is parameter)
    for epoch, accuracy in enumerate((0.5, 0.7, 0.7, 0.6)):
        with torch.no_grad():
            parameter.fill_(float(epoch))
        trainer: Any = SimpleNamespace(
            callback_metrics={CRITERION: torch.tensor(accuracy)},
            sanity_checking=False,
            is_global_zero=True,
        )
        keeper.on_validation_end(trainer, classifier)
    kept = load_file(tmp_path / "model.safetensors")[name.removeprefix("network.")]
    assert kept.unique().tolist() == [1.0]
