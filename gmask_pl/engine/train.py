"""Fits a task model and keeps the weights that were best on the dev split (Section 4)."""

from __future__ import annotations

import json
import shutil
from itertools import chain
from pathlib import Path

from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.utilities import rank_zero_only

from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.engine.checkpoint import LastState, SafeCheckpoints
from gmask_pl.engine.failures import check_split
from gmask_pl.engine.session import (
    data_module,
    fresh_classifier,
    make_loggers,
    make_trainer,
    plain,
    stored_classifier,
)
from gmask_pl.identity.of_result import IDENTITY, Identity, identity_of_training
from gmask_pl.models.base import PairClassifier
from gmask_pl.processes import alone, check_share, meet, say
from gmask_pl.types import JSON, PairSource

CRITERION = "dev/accuracy"
SUMMARY_FILE = "training.json"
BEST, STATE = "best", "state.safetensors"  # of a training under way


class BestWeights(Callback):
    """Saves the model to ``folder`` whenever its dev accuracy is higher than ever before.

    ``best``, the highest so far, goes with the state of the training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best = -1.0

    def state_dict(self) -> dict[str, float]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self.best = state_dict["best"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        accuracy = float(trainer.callback_metrics[CRITERION])
        if trainer.sanity_checking or accuracy <= self.best:
            return
        self.best = accuracy
        if trainer.is_global_zero:
            assert isinstance(pl_module, PairClassifier)
            pl_module.save(self.folder)


def truncated_pairs(data: PairDataModule, split: str) -> tuple[int, int]:
    """How many pairs a split has, and how many of them the model cannot read whole."""
    pairs = data.source.load(split)
    batches = (pairs[start : start + 512] for start in range(0, len(pairs), 512))
    return len(pairs), sum(int(data.encoder(batch).truncated.sum()) for batch in batches)


def train(cfg: DictConfig, source: PairSource) -> dict[str, float]:
    """Trains, leaves the best weights in ``cfg.weights_dir``, and returns the accuracies.

    Weights of the same settings and pairs that are there stand (``reuse=false``: do not). Others
    are replaced, only when the training is complete. One that was interrupted goes on after its
    last whole epoch; of several at a time that would leave the same weights' folder, one waits for
    the other. Pairs that the model cannot read whole are counted; the counts and accuracies, and
    what decided the weights, stay with them.
    """
    make_trainer(cfg, loggers=[], callbacks=[])  # the machine has what it asks for
    final = Path(cfg.weights_dir)
    with alone(lock_of(final), processes=cfg.trainer.devices):
        identity = training_identity(cfg, source)
        if cfg.reuse and Identity.read(final) == identity:
            summary: JSON = json.loads((final / SUMMARY_FILE).read_text("utf-8"))
            say(f"weights of this training were there already (reuse=false trains again): {final}")
            say(accuracies(summary["accuracy"]))
            return dict(summary["accuracy"])
        return fit(cfg, source)


def lock_of(weights: Path) -> Path:
    """Held while a model is trained that will lie there."""
    return weights.with_name(f".{weights.name}.lock")


def fit(cfg: DictConfig, source: PairSource) -> dict[str, float]:
    """`train` by a run that holds the lock, whatever weights are there."""
    final = Path(cfg.weights_dir)
    seed_everything(cfg.seed, workers=True, verbose=False)
    for split in ("train", "dev", "test"):
        check_split(source, split, cfg.max_failed)
    classifier = fresh_classifier(cfg, source)
    data = data_module(cfg, source, classifier)
    draft = final.with_name(f".{final.name}.training")
    begin(draft, training_identity(cfg, source))
    best_weights, state = draft / BEST, draft / STATE
    loggers = rank_zero_only(make_loggers, default=[])(cfg)
    trainer = make_trainer(
        cfg,
        loggers=loggers,
        callbacks=[
            EarlyStopping(CRITERION, mode="max", patience=cfg.model.fit.patience),
            BestWeights(best_weights),
            LastState(state),
        ],
        plugins=[SafeCheckpoints()],
        max_epochs=cfg.model.fit.max_epochs,
        gradient_clip_val=cfg.model.fit.gradient_clip,
    )
    # Before other processes are started, which the loader would complain in.
    check_share(cfg.model.fit.batch_size, trainer.num_devices * trainer.num_nodes)
    meet(trainer)  # before any process looks at what is there
    trainer.fit(classifier, data, ckpt_path=str(state) if state.is_file() else None)
    trainer.strategy.barrier()  # before the draft is read
    best = stored_classifier(cfg, source, best_weights, None)
    accuracy = {"dev": float(trainer.validate(best, data, verbose=False)[0][CRITERION])}
    if all(example.label is not None for example in source.load("test")):
        accuracy["test"] = float(trainer.test(best, data, verbose=False)[0]["test/accuracy"])
    if trainer.is_global_zero:
        lengths = {split: truncated_pairs(data, split) for split in ("train", *accuracy)}
        finish(draft, final, accuracy, lengths)
    trainer.strategy.barrier()  # before the weights are read
    for logger in loggers:
        logger.finalize("success")
    return accuracy


def training_identity(cfg: DictConfig, source: PairSource) -> Identity:
    """What decides the weights that a training ends with."""
    pairs = chain(source.load("train"), source.load("dev"))
    return identity_of_training(plain(cfg), pairs)


@rank_zero_only
def begin(draft: Path, identity: Identity) -> None:
    """Makes the folder of the training, and empties it of another one's."""
    if (there := Identity.read(draft)) == identity:
        if (draft / STATE).is_file():
            print(f"the training goes on that was interrupted: {draft}")
        return
    if there is not None:
        changed = " and ".join(there.differences(identity))
        print(f"{draft}: a training of other {changed} was interrupted there: begun anew")
    shutil.rmtree(draft, ignore_errors=True)
    identity.write(draft)


def finish(
    draft: Path, final: Path, accuracy: dict[str, float], lengths: dict[str, tuple[int, int]]
) -> None:
    """Puts the draft in its place, with its accuracies and counts, and prints them."""
    summary = {
        "accuracy": accuracy,
        "pairs": {split: pairs for split, (pairs, _) in lengths.items()},
        "truncated": {split: truncated for split, (_, truncated) in lengths.items()},
    }
    (draft / BEST / SUMMARY_FILE).write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
    (draft / IDENTITY).rename(draft / BEST / IDENTITY)
    shutil.rmtree(final, ignore_errors=True)
    (draft / BEST).rename(final)
    shutil.rmtree(draft)
    print(f"{accuracies(accuracy)}\nweights: {final}")
    for split, (pairs, truncated) in lengths.items():
        if truncated:
            print(f"{truncated} of {pairs} {split} pairs are truncated (max_length)")


def accuracies(accuracy: dict[str, float]) -> str:
    return "accuracy: " + ", ".join(f"{split} {value:.2%}" for split, value in accuracy.items())
