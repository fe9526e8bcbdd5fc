"""The model that a run explains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gmask_pl.files import check_folder
from gmask_pl.identity.of_result import Identity
from gmask_pl.identity.parts import KIND, TARGET, described
from gmask_pl.identity.setting_roles import BY_VALUE, TRAIN, place_of
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.build import plain, stored_classifier
from gmask_pl.pipeline.hydra_setup import typed_overrides
from gmask_pl.pipeline.training import Training, lock_of
from gmask_pl.processes import alone, say
from gmask_pl.types import PairSource, UserError

TRAINING = "training"  # where the logs of a training go that came first


def classifier_to_explain(cfg: DictConfig, source: PairSource, folder: Path) -> PairClassifier:
    """The model at ``weights``, else the one of this model and dataset, trained if need be.

    folder: of the run; a training logs into a folder of its own below it. Raises UserError where
    the command line asks for other settings than those that the weights were trained with.
    """
    if cfg.weights is not None:
        return stored_classifier(cfg, source, cfg.weights, cfg.label_order)
    if cfg.label_order is not None:
        raise UserError(f"label_order={cfg.label_order} is said of weights=..., which is not set")
    weights = Path(cfg.weights_dir)
    if os.path.lexists(weights):
        check_folder("weights_dir", weights, written=False)
    if not weights.is_dir():
        with alone(lock_of(weights), processes=cfg.trainer.devices):
            if not weights.is_dir():
                say(
                    f"no weights at {weights}: training model={cfg.model.name} on "
                    f"dataset={cfg.dataset.name} first (weights=... explains a model you have)"
                )
                own_logs: Any = OmegaConf.merge(cfg, {"log_dir": str(folder / TRAINING)})
                Training(own_logs, source).fit()
    check_training(cfg, weights, typed_overrides())
    return stored_classifier(cfg, source, weights, None)


def check_training(cfg: DictConfig, weights: Path, overrides: Sequence[str]) -> None:
    """Raises UserError where an override is not what the weights of a folder were trained with.

    Settings that nobody asks for may differ: a model is explained without repeating its training.
    """
    trained = Identity.read(weights)
    if trained is None:  # weights from elsewhere
        return
    asked = OmegaConf.create(described(plain(cfg)))
    known = OmegaConf.create(trained.settings)
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~").replace(TARGET, KIND)
        if not key.startswith("model.") or place_of(key, TRAIN) not in BY_VALUE:
            continue
        now, then = OmegaConf.select(asked, key), OmegaConf.select(known, key)
        if now != then:
            raise UserError(
                f"{key}={now}, but the model at {weights} was trained with {then}: leave the "
                "setting out, or name a folder without weights by weights_dir=..., to train there"
            )
