"""What explainers that learn are given of a run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from gmask_pl.explainers.learning import Study
from gmask_pl.identity.of_model import ModelIdentity
from gmask_pl.masking.token_packing import TokenBudget
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.build import make_trainer
from gmask_pl.pipeline.failures import check_split
from gmask_pl.types import PairExample, PairSource, UserError


def make_study(
    cfg: DictConfig, source: PairSource, classifier: PairClassifier, model: ModelIdentity
) -> Study:
    """The training pairs of the run's dataset, its model, its Trainer, and a folder.

    model: the identity of the classifier.
    """

    def train() -> Sequence[PairExample]:
        try:
            check_split(source, "train", cfg.max_failed)
            return source.load("train")
        except UserError as error:
            raise UserError(
                f"this explainer learns from training pairs, and they cannot be read: {error}. "
                "Give dataset.path=FOLDER with a train split, as in dataset=pairs a train.jsonl "
                "with text1 and text2 (labels are not needed), or choose an explainer that learns "
                "nothing"
            ) from None

    return Study(
        classifier=classifier,
        encode=classifier.encoder(cfg.unit),
        train=train,
        labels=source.labels,
        trainer=functools.partial(make_trainer, cfg, loggers=[], callbacks=[]),
        token_budget=TokenBudget(cfg.token_budget),
        batch_size=cfg.model.fit.batch_size,
        workers=cfg.workers,
        folder=Path(cfg.explainers_dir),
        identity={"model": model.told, "unit": cfg.unit},
    )
