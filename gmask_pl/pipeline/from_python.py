"""The settings of a command line, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from hydra.utils import instantiate
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning import seed_everything

from gmask_pl.api import PairExplainer
from gmask_pl.identity.of_model import identity_of_model
from gmask_pl.identity.parts import TARGET
from gmask_pl.pipeline.build import (
    make_trainer,
    plain,
    stored_classifier,
    training_context,
    weights_to_ask,
)
from gmask_pl.pipeline.command import message, misspelt
from gmask_pl.pipeline.removal_choice import DEFAULT, followers, settled
from gmask_pl.pipeline.settings_check import explain_settings
from gmask_pl.process_switches import apart
from gmask_pl.types import PairSource, UserError

# Settings of a command's log and folders, which name the command itself.
_OF_A_COMMAND = ("hydra", "log_dir", "logger", "run_name")
# What Hydra composes by; a new one of each is made where there is none.
_OF_HYDRA = (GlobalHydra, VersionBase)


def from_settings(*overrides: str) -> PairExplainer:
    """A PairExplainer with the settings of explain.py, which says of a pair what explain.py says.

    overrides: as on its command line, such as ``"model=bert"``, ``"weights=FOLDER"``,
    ``"explainer=gmask_two_sided"``; of the data set only its labels are used, and its training
    pairs by explainers that learn. Raises UserError for settings that are none, where there are no
    weights, and for more than one process.
    """
    if wrong := [part for part in overrides if not isinstance(part, str)]:
        raise UserError(
            f"{wrong[0]!r} is no setting: give strings such as 'model=bert', a list of them by "
            "PairExplainer.from_config(*settings)"
        )
    with apart():
        with _own_hydra(), _own_errors(overrides):
            cfg = composed(overrides)
            source: PairSource = instantiate(cfg.dataset)
            explainer = instantiate(cfg.explainer)
        weights = weights_to_ask(cfg)
        trainer = make_trainer(cfg)
        classifier = stored_classifier(cfg, source, weights, cfg.label_order)
        model = identity_of_model(classifier, str(trainer.precision))
        if settled(cfg, classifier, explainer, model, folder=None, overrides=overrides):
            explainer = instantiate(cfg.explainer)
        seed_everything(cfg.seed, workers=True, verbose=False)  # as explain.py does
        return PairExplainer(
            classifier,
            method=explainer,
            unit=plain(cfg)["unit"],
            **plain(cfg).get("question", {}),
            batch_size=cfg.batch_size,
            seed=cfg.seed,
            token_budget=cfg.token_budget,
            cache=cfg.response_cache,
            responses=cfg.responses,
            training_pairs=training_context(cfg, source, classifier, model),
            clean=cfg.dataset.get("clean", False),
            segment=getattr(source, "segment", None),
            workers=cfg.workers,
            trainer={key: value for key, value in plain(cfg.trainer).items() if key != TARGET},
        )


def composed(overrides: Iterable[str]) -> DictConfig:
    """The settings, of which nothing refers to a command or to how OmegaConf was taught.

    What removes words as the model usually does still says so.
    """
    cfg: Any = explain_settings(overrides)
    kept = OmegaConf.masked_copy(cfg, [key for key in cfg if key not in _OF_A_COMMAND])
    as_usual = followers(kept)
    OmegaConf.resolve(kept)
    for key in as_usual:
        OmegaConf.update(kept, key, DEFAULT)
    return kept


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Within, Hydra is not initialised; afterwards it and OmegaConf's resolvers are as before."""
    instances: dict[Any, Any] = Singleton._instances
    before = {kind: instances.pop(kind) for kind in _OF_HYDRA if kind in instances}
    resolvers = dict(BaseContainer._resolvers)
    try:
        yield
    finally:
        for kind in _OF_HYDRA:
            instances.pop(kind, None)
        instances.update(before)
        BaseContainer._resolvers.clear()
        BaseContainer._resolvers.update(resolvers)


@contextmanager
def _own_errors(overrides: Sequence[str]) -> Iterator[None]:
    """Where Hydra cannot make parts of the settings, raises UserError, as a command says it."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        said = message(error, lambda key: misspelt(key, overrides))
        raise UserError(said or " ".join(f"{error}".split())) from error
