"""Fits a task model and keeps the weights that were best on the dev split (Section 4)."""

from __future__ import annotations

import json
import os
import re
import shutil
from functools import cached_property, partial
from itertools import chain
from pathlib import Path

from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from safetensors import SafetensorError

from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.files import (
    check_folder,
    damaged,
    is_draft,
    limit_expanded,
    put_folder,
    remove_ours,
    whole_folder,
    write_text,
)
from gmask_pl.identity.of_result import (
    IDENTITY,
    Identity,
    contents_digest,
    identity_of_training,
)
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.build import (
    fresh_classifier,
    loggers_of,
    make_trainer,
    plain,
    stored_classifier,
)
from gmask_pl.pipeline.checkpoint import LastState, SafeCheckpoints
from gmask_pl.pipeline.damaged_folders import json_object
from gmask_pl.pipeline.failures import check_split
from gmask_pl.pipeline.output_places import check_places
from gmask_pl.processes import alone, check_share, meet, say
from gmask_pl.types import JSON, PairSource, UserError

CRITERION = "dev/accuracy"
SUMMARY_FILE = "training.json"
STATE = "state.safetensors"  # of a training under way
# The state names one of them: the other may be half written when a training is killed.
BEST = ("best-0", "best-1")
_UNDER_WAY = re.compile(r"\.tmp[A-Za-z0-9]{6}")  # what safetensors writes before it has its name
# What models are stored as, in a folder whose summary does not list it.
STORED = frozenset(
    (
        *(IDENTITY, SUMMARY_FILE, "config.json", "generation_config.json", "model.safetensors"),
        *("vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja", "added_tokens.json"),
        *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"),
    )
)


class BestWeights(Callback):
    """Saves the model below ``draft`` whenever its dev accuracy is higher than ever before.

    ``best``, the highest so far, and ``kept``, the folder that it is in, go with the state of the
    training. Of two folders it is the one that an earlier state does not name, so that a training
    that is killed at any time goes on with the weights that were best then.
    """

    def __init__(self, draft: Path) -> None:
        self.draft = draft
        self.best, self.kept = -1.0, BEST[1]

    @property
    def folder(self) -> Path:
        return self.draft / self.kept

    def state_dict(self) -> JSON:
        return {"best": self.best, "kept": self.kept}

    def load_state_dict(self, state_dict: JSON) -> None:
        self.best, self.kept = state_dict["best"], state_dict["kept"]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        accuracy = float(trainer.callback_metrics[CRITERION])
        if trainer.sanity_checking or accuracy <= self.best:
            return
        self.best = accuracy
        self.kept = BEST[1 - BEST.index(self.kept)]
        if trainer.is_global_zero:
            assert isinstance(pl_module, PairClassifier)
            shutil.rmtree(self.folder, ignore_errors=True)  # of an epoch that was not the best
            with whole_folder(self.folder, ()) as draft:
                pl_module.save(draft)


def truncated_pairs(data: PairDataModule, split: str) -> tuple[int, int]:
    """How many pairs a split has, and how many of them the model cannot read whole."""
    pairs = data.source.load(split)
    batches = (pairs[start : start + 512] for start in range(0, len(pairs), 512))
    return len(pairs), sum(int(data.encoder(batch).truncated.sum()) for batch in batches)


class Training:
    """A training of a task model, which leaves its best weights in a folder.

    Weights of the same settings and pairs that are there stand (``reuse=false``: do not). Others
    are replaced, only when the training is complete; what else lies in their folder stays. A
    folder that no training has made is refused, and files that are not as one has left them are,
    unless by ``reuse=false``. One that was interrupted goes on after its
    last whole epoch; of several at a time that would leave the same weights' folder, one waits for
    the other. Pairs that the model cannot read whole are counted; the counts and accuracies, and
    what decided the weights, stay with them.

    cfg: the settings of train.py or explain.py. source: the pairs.
    """

    def __init__(self, cfg: DictConfig, source: PairSource) -> None:
        self.trainer = partial(make_trainer, cfg)
        self.trainer()  # the machine has what it asks for
        check_places(cfg)
        limit_expanded(cfg.max_expanded_gb)
        self.source, self.settings = source, plain(cfg)
        self.final = place_of_weights(cfg.weights_dir)
        self.draft = self.final.with_name(f".{self.final.name}.training")
        self.reuse, self.seed, self.max_failed = cfg.reuse, cfg.seed, cfg.max_failed
        self.processes = cfg.trainer.devices
        self.fresh = partial(fresh_classifier, cfg, source)
        self.stored = partial(stored_classifier, cfg, source, label_order=None)
        self.loggers, self.workers = loggers_of(cfg), cfg.workers

    @cached_property
    def identity(self) -> Identity:
        """What decides the weights that the training ends with."""
        pairs = chain(self.source.load("train"), self.source.load("dev"))
        return identity_of_training(self.settings, pairs)

    def run(self) -> dict[str, float]:
        """The accuracies, once the weights are there."""
        with alone(lock_of(self.final), processes=self.processes):
            if self.reuse:
                check_as_left(self.final)
            if self.reuse and (accuracy := self.earlier_accuracy()):
                said = "weights of this training were there already (reuse=false trains again)"
                say(f"{said}: {self.final}")
                say(accuracies(accuracy))
                return accuracy
            return self.fit()

    def earlier_accuracy(self) -> dict[str, float] | None:
        """The accuracies of weights that are there and this training would end with, if any."""
        if readable_identity(self.final) != self.identity:
            return None
        try:
            self.stored(weights=self.final)
            found = json_object(self.final / SUMMARY_FILE)["accuracy"]
            return {str(split): float(value) for split, value in found.items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, UserError) as error:
            damaged(self.final, error)
            return None

    def fit(self) -> dict[str, float]:
        """Trains, whatever weights are there; of a process that holds the lock."""
        seed_everything(self.seed, workers=True, verbose=False)
        for split in ("train", "dev", "test"):
            check_split(self.source, split, self.max_failed)
        classifier, fit = self.fresh(), self.settings["model"]["fit"]
        data = PairDataModule(
            source=self.source,
            encoder=classifier.encoder("word"),
            batch_size=fit["batch_size"],
            workers=self.workers,
        )
        self.begin()
        best_weights, state = BestWeights(self.draft), self.draft / STATE
        loggers = rank_zero_only(self.new_loggers, default=[])()
        trainer = self.trainer(
            logger=loggers,
            callbacks=[
                EarlyStopping(CRITERION, mode="max", patience=fit["patience"]),
                best_weights,
                LastState(state),
            ],
            plugins=[SafeCheckpoints()],
            max_epochs=fit["max_epochs"],
            gradient_clip_val=fit["gradient_clip"],
        )
        # Before other processes are started, which the loader would complain in.
        check_share(fit["batch_size"], trainer.num_devices * trainer.num_nodes)
        meet(trainer)  # before any process looks at what is there
        trainer.fit(classifier, data, ckpt_path=str(state) if state.is_file() else None)
        trainer.strategy.barrier()  # before the draft is read
        best = self.stored(weights=best_weights.folder)
        accuracy = {"dev": float(trainer.validate(best, data, verbose=False)[0][CRITERION])}
        if all(example.label is not None for example in self.source.load("test")):
            accuracy["test"] = float(trainer.test(best, data, verbose=False)[0]["test/accuracy"])
        if trainer.is_global_zero:
            lengths = {split: truncated_pairs(data, split) for split in ("train", *accuracy)}
            finish(best_weights.folder, self.final, accuracy, lengths)
        trainer.strategy.barrier()  # before the weights are read
        for logger in loggers:
            logger.finalize("success")
        return accuracy

    def new_loggers(self) -> list[Logger]:
        return [make() for make in self.loggers.values()]

    @rank_zero_only
    def begin(self) -> None:
        """Makes the draft's folder, and empties it of another training, or of a damaged one."""
        draft, there = self.draft, readable_identity(self.draft)
        if there == self.identity and self.goes_on():
            remove_unfinished(draft)
            say(f"the training goes on that was interrupted: {draft}")
            return
        if there not in (None, self.identity):
            changed = " and ".join(there.differences(self.identity))
            say(f"{draft}: a training of other {changed} was interrupted there: begun anew")
        remove_draft(draft)
        self.identity.write(draft)

    def goes_on(self) -> bool:
        """Whether an interrupted training has left a state, and weights, that can be read."""
        state = self.draft / STATE
        if not os.path.lexists(state):
            return False
        try:
            callbacks = SafeCheckpoints().load_checkpoint(state)["callbacks"]
            self.stored(weights=self.draft / callbacks[BestWeights.__name__]["kept"])
        except (OSError, ValueError, LookupError, TypeError, SafetensorError, UserError) as error:
            damaged(state, error)
            return False
        return True


def readable_identity(folder: Path) -> Identity | None:
    """What decided what a folder holds; of an identity that cannot be read it is told."""
    found = Identity.read(folder)
    if found is None and os.path.lexists(folder / IDENTITY):
        damaged(folder / IDENTITY, "no identity can be read")
    return found


def place_of_weights(weights_dir: str) -> Path:
    """The folder that a training leaves its weights in; through a link, where that leads.

    Raises UserError where it cannot be written, or holds what no training has made.
    """
    folder = Path(weights_dir)
    if folder.is_symlink() or folder.name in ("", ".."):
        folder = folder.resolve()
    check_folder("weights_dir", folder)
    check_folder("weights_dir", folder.parent)  # where the draft lies
    told = f"weights_dir={weights_dir}"
    if folder.is_mount():
        raise UserError(f"{told} is a mount, which cannot be replaced: name a folder below it")
    if folder.is_dir() and any(folder.iterdir()) and not is_ours(folder):
        raise UserError(
            f"{told} holds files that no training has made, and weights would take their place: "
            "name a new or an empty folder"
        )
    return folder


def is_ours(folder: Path) -> bool:
    """Whether a training has left its weights in a folder, if they are damaged by now."""
    known = (folder / IDENTITY).is_file() and (folder / SUMMARY_FILE).is_file()
    return known or Identity.read(folder) is not None


def lock_of(weights: Path) -> Path:
    """Held while a model is trained that will lie there."""
    return weights.with_name(f".{weights.name}.lock")


def remove_draft(draft: Path) -> None:
    """Removes what a training under way has made."""
    for name in BEST:
        shutil.rmtree(draft / name, ignore_errors=True)
    remove_unfinished(draft)
    remove_ours(draft, lambda name: name in (IDENTITY, STATE))


def remove_unfinished(draft: Path) -> None:
    """Removes what a process was about to write into a training under way when it was killed."""
    for entry in draft.iterdir() if draft.is_dir() and not draft.is_symlink() else ():
        if is_draft(entry) and entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif is_draft(entry) or (_UNDER_WAY.fullmatch(entry.name) and entry.is_file()):
            entry.unlink(missing_ok=True)


def finish(
    best: Path, final: Path, accuracy: dict[str, float], lengths: dict[str, tuple[int, int]]
) -> None:
    """Puts the best weights in their place, with accuracies and counts, and prints them."""
    files = {path.name: contents_digest(path) for path in sorted(best.iterdir()) if path.is_file()}
    summary = {
        "accuracy": accuracy,
        "pairs": {split: pairs for split, (pairs, _) in lengths.items()},
        "truncated": {split: truncated for split, (_, truncated) in lengths.items()},
        "files": files,
    }
    write_text(best / SUMMARY_FILE, json.dumps(summary, indent=2) + "\n")
    draft = best.parent
    write_text(best / IDENTITY, (draft / IDENTITY).read_text("utf-8"))
    put_folder(best, final, {IDENTITY, SUMMARY_FILE, *(files_of(final) or STORED)})
    remove_draft(draft)
    say(f"{accuracies(accuracy)}\nweights: {final}")
    for split, (pairs, truncated) in lengths.items():
        if truncated:
            say(f"{truncated} of {pairs} {split} pairs are truncated (max_length)")


def files_of(weights: Path) -> dict[str, str | None]:
    """The files that a training has left in a folder, by its summary, and the digest of each; None
    of an earlier version, which kept none."""
    try:
        found = json_object(weights / SUMMARY_FILE)["files"]
        return {str(name): found[name] if isinstance(found, dict) else None for name in found}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def check_as_left(weights: Path) -> None:
    """Raises UserError where files that a training has left are others now."""
    changed = [
        name
        for name, digest in files_of(weights).items()
        if digest is not None
        and (weights / name).is_file()
        and contents_digest(weights / name) != digest
    ]
    if changed:
        raise UserError(
            f"weights_dir={weights}: {', '.join(changed)} changed since the training that left it: "
            "damaged, or yours. Move the folder away, or train again and lose it by reuse=false"
        )


def accuracies(accuracy: dict[str, float]) -> str:
    return "accuracy: " + ", ".join(f"{split} {value:.2%}" for split, value in accuracy.items())
