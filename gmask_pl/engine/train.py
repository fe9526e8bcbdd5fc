"""Fits a task model and keeps the weights that were best on the dev split (Section 4)."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.trainer.states import TrainerFn

from gmask_pl.engine.session import (
    data_module,
    fresh_classifier,
    make_loggers,
    make_trainer,
    stored_classifier,
)
from gmask_pl.models.base import PairClassifier
from gmask_pl.types import PairBatch, PairSource

CRITERION = "dev/accuracy"
SUMMARY_FILE = "training.json"


class BestWeights(Callback):
    """Saves the model to ``folder`` whenever its dev accuracy is higher than ever before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best = -1.0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        accuracy = float(trainer.callback_metrics[CRITERION])
        if trainer.sanity_checking or accuracy <= self.best:
            return
        self.best = accuracy
        if trainer.is_global_zero:
            assert isinstance(pl_module, PairClassifier)
            pl_module.save(self.folder)


class TruncatedPairs(Callback):
    """Counts, once a split, the pairs and those of them that the model could not read whole."""

    def __init__(self) -> None:
        self.pairs: Counter[str] = Counter()
        self.truncated: Counter[str] = Counter()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: PairBatch, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 0:
            self._count("train", batch)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:  # not while fitting, epoch after epoch
            self._count("dev", batch)

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._count("test", batch)

    def _count(self, split: str, batch: PairBatch) -> None:
        self.pairs[split] += len(batch)
        self.truncated[split] += int(batch.truncated.sum())


def train(cfg: DictConfig, source: PairSource) -> dict[str, float]:
    """Trains, leaves the best weights in ``cfg.weights_dir``, and returns the accuracies.

    Weights that were there are replaced only when the training is complete. Pairs that the model
    cannot read whole are counted; the counts and accuracies stay with the weights.
    """
    seed_everything(cfg.seed, workers=True, verbose=False)
    classifier = fresh_classifier(cfg, source)
    data = data_module(cfg, source, classifier)
    final = Path(cfg.weights_dir)
    draft = final.with_name(f".{final.name}.training")
    shutil.rmtree(draft, ignore_errors=True)
    loggers = make_loggers(cfg)
    lengths = TruncatedPairs()
    trainer = make_trainer(
        cfg,
        loggers=loggers,
        callbacks=[
            EarlyStopping(CRITERION, mode="max", patience=cfg.model.fit.patience),
            BestWeights(draft),
            lengths,
        ],
        max_epochs=cfg.model.fit.max_epochs,
        gradient_clip_val=cfg.model.fit.gradient_clip,
    )
    trainer.fit(classifier, data)
    best = stored_classifier(cfg, source, draft, None)
    accuracy = {"dev": float(trainer.validate(best, data, verbose=False)[0][CRITERION])}
    if all(example.label is not None for example in source.load("test")):
        accuracy["test"] = float(trainer.test(best, data, verbose=False)[0]["test/accuracy"])
    if trainer.is_global_zero:
        summary = {
            "accuracy": accuracy,
            "pairs": dict(lengths.pairs),
            "truncated": dict(lengths.truncated),
        }
        (draft / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
    for logger in loggers:
        logger.finalize("success")
    shown = ", ".join(f"{split} {value:.2%}" for split, value in accuracy.items())
    print(f"accuracy: {shown}\nweights: {final}")
    for split, count in lengths.truncated.items():
        if count:
            print(f"{count} of {lengths.pairs[split]} {split} pairs are truncated (max_length)")
    return accuracy
