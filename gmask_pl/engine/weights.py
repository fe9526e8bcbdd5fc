"""The model that a run explains."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gmask_pl.engine.session import stored_classifier
from gmask_pl.engine.train import train
from gmask_pl.models.base import PairClassifier
from gmask_pl.processes import say
from gmask_pl.types import PairSource, UserError

TRAINING = "training"  # where the logs of a training go that came first


def classifier_to_explain(cfg: DictConfig, source: PairSource, folder: Path) -> PairClassifier:
    """The model at ``weights``, else the one of this model and dataset, trained if need be.

    folder: of the run; a training logs into a folder of its own below it.
    """
    order = None if cfg.label_order is None else list(cfg.label_order)
    if cfg.weights is not None:
        return stored_classifier(cfg, source, cfg.weights, order)
    if order is not None:
        raise UserError(f"label_order={order} is said of weights=..., which is not set")
    with alone(cfg, Path(cfg.weights_dir)):
        if not Path(cfg.weights_dir).is_dir():
            say(
                f"no weights at {cfg.weights_dir}: training model={cfg.model.name} on "
                f"dataset={cfg.dataset.name} first (weights=... explains a model you have)"
            )
            own_logs: Any = OmegaConf.merge(cfg, {"log_dir": str(folder / TRAINING)})
            train(own_logs, source)
    return stored_classifier(cfg, source, cfg.weights_dir, None)


@contextmanager
def alone(cfg: DictConfig, weights: Path) -> Iterator[None]:
    """Lets one of several runs of a machine train a model; the others wait for its weights.

    Not where a run has several processes, as these train together.
    """
    if weights.is_dir() or cfg.trainer.devices != 1:
        yield
        return
    lock = weights.with_name(f".{weights.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
