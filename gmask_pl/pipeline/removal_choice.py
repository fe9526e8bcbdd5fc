"""Refuses what a model was not found right with, before anything long is begun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gmask_pl.explainers.explainer import Explainer
from gmask_pl.identity.of_model import ModelIdentity
from gmask_pl.models.model_check import Verdict, name_of
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.hydra_setup import typed_overrides
from gmask_pl.pipeline.scoring import metric_removals
from gmask_pl.processes import say
from gmask_pl.suitability import tried_for

CHECKS = "checks"  # below ``output``: what came of trying models
DEFAULT = "${model.removal}"  # what explainers and metrics remove words by, unless told otherwise


def settled(
    cfg: DictConfig,
    classifier: PairClassifier,
    explainer: Explainer,
    model: ModelIdentity,
    *,
    folder: Path | None,
    overrides: Sequence[str] | None = None,
) -> bool:
    """Tries the model; makes sure that explainer and metrics remove words as is right for it.

    Where nobody asked for a removal and the usual one of the model is not right, ``model.removal``
    becomes the best that is; says so, and returns True: what depends on it is to be built anew.
    model: the identity of the classifier. folder: where verdicts are kept for other processes;
    None: nowhere. overrides: of the command line; None: what Hydra was given. Raises UserError for
    all else that is not right.
    """
    verdict, gradients = tried_for(explainer, classifier, folder, model)
    name = name_of(classifier)
    unsaid = "removal" in cfg.explainer and cfg.explainer.removal is None
    if unsaid:
        cfg.explainer.removal = DEFAULT
    changed = _by_default(cfg, verdict, gradients=gradients, overrides=overrides) or unsaid
    explained = cfg.explainer.get("removal", explainer.removal) or cfg.model.removal
    verdict.refuse(name, explained, setting="explainer.removal", gradients=gradients)
    for removal in metric_removals(cfg):
        verdict.refuse(name, removal, setting="metric.removal")
    return changed


def _by_default(
    cfg: DictConfig, verdict: Verdict, *, gradients: bool, overrides: Sequence[str] | None
) -> bool:
    """Changes ``model.removal`` where it is in force unasked and not right; whether it did."""
    given = typed_overrides() if overrides is None else overrides
    if any(override.lstrip("+").partition("=")[0] == "model.removal" for override in given):
        return False
    as_usual = followers(cfg)
    of_explainer = "explainer.removal" in as_usual
    usual = cfg.model.removal
    wanted = [
        name
        for name in verdict.right(gradients=gradients and of_explainer)
        if verdict.removals[name].ok
    ]
    if not as_usual or usual in wanted or not wanted:
        return False
    what = verdict.removals if not verdict.removals[usual].ok else verdict.gradients
    say(f"model.removal={wanted[0]}, as {usual} is not right for this model: {what[usual].reason}")
    cfg.model.removal = wanted[0]
    return True


def followers(cfg: DictConfig) -> list[str]:
    """The keys of what removes words as ``model.removal`` says."""
    raw: Any = OmegaConf.to_container(cfg, resolve=False)

    def found(settings: Any, above: str) -> Iterator[str]:
        for name, value in settings.items() if isinstance(settings, dict) else ():
            if value == DEFAULT:
                yield f"{above}{name}"
            yield from found(value, f"{above}{name}.")

    return list(found(raw, ""))
