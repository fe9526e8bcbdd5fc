"""Explanations from Python, without a command line or files."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning import seed_everything

from gmask_pl.command_names import command_name
from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.data.in_memory import Given, texts_of
from gmask_pl.identity.parts import CONF
from gmask_pl.loops import ExplainLoop, Keep
from gmask_pl.masking.token_packing import TokenBudget
from gmask_pl.pipeline.build import make_study, make_trainer, model_identity, stored_classifier
from gmask_pl.pipeline.hydra_setup import quieten, register
from gmask_pl.pipeline.removal_choice import DEFAULT, followers, settled
from gmask_pl.pipeline.settings_check import check_settings
from gmask_pl.process_switches import as_they_were, own_hydra
from gmask_pl.types import Explanation, PairSource, UserError

# Settings of a command's log and folders, which name the command itself.
_OF_A_COMMAND = ("hydra", "log_dir", "logger", "run_name")
_one_at_a_time = threading.RLock()


def _unlocked() -> None:
    """A process that is forked while a thread explains has no thread that would end."""
    global _one_at_a_time
    _one_at_a_time = threading.RLock()


os.register_at_fork(after_in_child=_unlocked)


class NotExplained(UserError):
    """Some of the pairs could not be explained, and the others were.

    explanations: one a pair in their order, None where there is none. reasons: why, by the
    position of the pair from 0.
    """

    def __init__(self, explanations: list[Explanation | None], reasons: dict[int, str]) -> None:
        told = [f"pair {i + 1}: {why}" for i, why in sorted(reasons.items())]
        more = f"; {len(told) - 3} more" if len(told) > 3 else ""
        super().__init__(f"{'; '.join(told[:3])}{more} (the others: .explanations of this error)")
        self.explanations, self.reasons = explanations, reasons


class Truncated(UserWarning):
    """Pairs are longer than the model reads: they are explained by what it read of them."""


class PairExplainer:
    """Explains pairs of texts by a model in memory, as explain.py does with the same settings.

    overrides: settings as on its command line, such as ``"model=bert"``, ``"weights=FOLDER"``,
    ``"explainer=gmask_two_sided"``; of the data set only its labels are used, and its training
    pairs by explainers that learn. What it says of a pair is what explain.py says of it, whatever
    its id or its place. Raises UserError for settings that are none, where there are no weights,
    and for more than one process.

    Random states, warnings, log levels and other switches of the process (see
    `gmask_pl.process_switches`) take no part and are left as they were. Threads may share an
    explainer: of all that are asked in one process one works at a time. It can be pickled, with its
    model, and so be handed to a process that is started by spawn.
    """

    def __init__(self, *overrides: str) -> None:
        if wrong := [part for part in overrides if not isinstance(part, str)]:
            raise UserError(
                f"{wrong[0]!r} is no setting: give strings such as 'model=bert', a list of them by "
                "PairExplainer(*settings)"
            )
        with _apart():
            with own_hydra(), _own_errors():
                self.cfg = cfg = _composed(overrides)
                source: PairSource = instantiate(cfg.dataset)
                self.explainer = instantiate(cfg.explainer)
            if cfg.trainer.devices != 1:
                raise UserError(f"trainer.devices={cfg.trainer.devices}: pairs from Python need 1")
            weights = cfg.weights or cfg.weights_dir
            if cfg.weights is None and not Path(weights).is_dir():
                raise UserError(
                    f"no weights at {weights}: give weights=FOLDER, or run "
                    f"{command_name('train')} first"
                )
            self.classifier = stored_classifier(cfg, source, weights, cfg.label_order)
            trainer = make_trainer(cfg, loggers=[], callbacks=[])
            self.model = model = model_identity(self.classifier, trainer)
            if settled(
                cfg, self.classifier, self.explainer, model, folder=None, overrides=overrides
            ):
                self.explainer = instantiate(cfg.explainer)
            self.labels = source.labels
            seed_everything(cfg.seed, workers=True, verbose=False)  # as explain.py does
            self.explainer.prepare(make_study(cfg, source, self.classifier, model))

    def __call__(self, pairs: Iterable[tuple[str, str]]) -> list[Explanation]:
        """The explanation of every pair, in their order.

        ``prediction`` is an index of ``labels``. Warns of pairs that the model could not read
        whole (`Truncated`); their ``truncated`` is true. Raises UserError, before anything is
        explained, for what is no pair of strings; and NotExplained, with the explanations of the
        other pairs, where a text is missing or has no words, or the model gives no finite answer.
        """
        given = Given(texts_of(pairs), self.labels, clean=self.cfg.dataset.get("clean", False))
        found, failed = dict[int, Explanation](), given.unread
        count = len(given.pairs) + len(failed)

        def keep(batch: int, explained: list[Explanation], lacking: dict[str, str]) -> None:
            found.update({int(explanation.id) - 1: explanation for explanation in explained})
            failed.update({int(id) - 1: reason for id, reason in lacking.items()})

        if given.pairs:
            with _apart():
                self._explain(given, keep)
        if cut := [str(i + 1) for i in sorted(found) if found[i].truncated]:
            first = ", ".join(cut[:10]) + ", ..." * (len(cut) > 10)
            told = f"{len(cut)} of {count} pairs are longer than the model reads (pair {first})"
            warnings.warn(f"{told}: explained by what it read", Truncated, stacklevel=2)
        if failed:
            raise NotExplained([found.get(i) for i in range(count)], failed)
        return [found[i] for i in range(count)]

    def _explain(self, given: Given, keep: Keep) -> None:
        """``keep`` is called with every batch of the pairs, as in `ExplainLoop`."""
        cfg = self.cfg
        seed_everything(cfg.seed, workers=True, verbose=False)
        data = PairDataModule(
            source=given,
            encoder=self.classifier.encoder(cfg.unit),
            batch_size=cfg.batch_size,
            explain_batch_size=cfg.batch_size,
            explain_split="test",
            limit=None,
            limit_seed=0,
            workers=cfg.workers,
        )
        loop = ExplainLoop(
            self.classifier,
            self.explainer,
            range(data.batches),
            keep,
            token_budget=TokenBudget(cfg.token_budget),
            response_cache=cfg.response_cache,
            model=self.model.digest,
        )
        quiet = {"inference_mode": False, "enable_progress_bar": False}
        trainer = make_trainer(cfg, loggers=[], callbacks=[], **quiet)
        trainer.predict(loop, data, return_predictions=False)


@contextmanager
def _apart() -> Iterator[None]:
    """Nothing of the process is changed in the end, and only one thread is within."""
    with _one_at_a_time, as_they_were():
        quieten()
        try:
            yield
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # Lightning ends a script by it
                raise KeyboardInterrupt from None
            raise


@contextmanager
def _own_errors() -> Iterator[None]:
    """Raises UserError where Hydra or OmegaConf cannot make parts of the settings."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(_said(error)) from error


def _said(error: Exception) -> str:
    """What is wrong with the settings, on one line and without what only Hydra's users know."""
    if isinstance(error, MissingConfigException) and error.options:
        return f"{error.missing_cfg_file}: there are {', '.join(error.options)}"
    first, *rest = f"{error}".split("\nfull_key: ")
    key = f"{rest[0].splitlines()[0]}: " if rest else ""
    cause = error.__cause__ if isinstance(error, InstantiationException) else None
    return key + " ".join(f"{cause or first}".split())


def _composed(overrides: Iterable[str]) -> DictConfig:
    """The settings, of which nothing refers to a command or to how OmegaConf was taught.

    What removes words as the model usually does still says so.
    """
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg: Any = compose("explain", list(overrides))
    check_settings(cfg)
    kept = OmegaConf.masked_copy(cfg, [key for key in cfg if key not in _OF_A_COMMAND])
    as_usual = followers(kept)
    OmegaConf.resolve(kept)
    for key in as_usual:
        OmegaConf.update(kept, key, DEFAULT)
    return kept
