"""Refuses what a model was not found right with, before anything long is begun."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from gmask_pl.explainers.explainer import Explainer
from gmask_pl.files import warn_once, write_text
from gmask_pl.identity.of_model import ModelIdentity
from gmask_pl.identity.setting_roles import digest_of
from gmask_pl.masking import masked_model
from gmask_pl.models import model_check, reading_traits
from gmask_pl.models.model_check import Trial, Verdict, check, name_of
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.scoring import metric_removals
from gmask_pl.processes import say
from gmask_pl.types import UserError

CHECKS = "checks"  # below ``output``: what came of trying models
DEFAULT = "${model.removal}"  # what explainers and metrics remove words by, unless told otherwise

_known: dict[str, Verdict] = {}  # of this process


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
    parts = list(parts_of(explainer))
    gradients = any(part.differentiates_masks for part in parts)
    verdict = tried(classifier, model, folder, gradients=gradients)
    name = name_of(classifier)
    if any(part.reads_attention for part in parts) and not verdict.attention.ok:
        raise UserError(f"{verdict.attention.reason} (this is asked by {type(explainer).__name__})")
    changed = _by_default(cfg, verdict, gradients=gradients, overrides=overrides)
    explained = cfg.explainer.get("removal", explainer.removal)
    verdict.refuse(name, explained, setting="explainer.removal", gradients=gradients)
    for removal in metric_removals(cfg):
        verdict.refuse(name, removal, setting="metric.removal")
    return changed


def _by_default(
    cfg: DictConfig, verdict: Verdict, *, gradients: bool, overrides: Sequence[str] | None
) -> bool:
    """Changes ``model.removal`` where it is in force unasked and not right; whether it did."""
    if overrides is None:
        given = HydraConfig.get().overrides.task if HydraConfig.initialized() else ()
        overrides = [str(override) for override in given]
    if any(override.lstrip("+").partition("=")[0] == "model.removal" for override in overrides):
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


def parts_of(explainer: Explainer) -> Iterator[Explainer]:
    """The explainer, and those that choose its words."""
    yield explainer
    chosen_by = getattr(explainer, "word_filter", None)
    if isinstance(chosen_by, Explainer):
        yield from parts_of(chosen_by)


def tried(
    classifier: PairClassifier, model: ModelIdentity, folder: Path | None, *, gradients: bool
) -> Verdict:
    """What came of trying the model, now or when it was tried before.

    folder: where that is kept for other processes; None: nowhere.
    """
    key = check_key(model, gradients=gradients)
    if key not in _known:
        file = None if folder is None else folder / f"{key}.json"
        found = None if file is None else _read(file)
        if found is None:
            found = check(classifier, gradients=gradients)
            if file is not None:
                _write(file, found)
        _known[key] = found
    return _known[key]


def check_key(model: ModelIdentity, *, gradients: bool) -> str:
    """A name for all that decides what comes of trying a model: it is tried in float32."""
    digest = replace(model, precision="32-true").digest
    tools = f"{torch.__version__} {transformers.__version__}"
    trial = [
        Path(str(module.__file__)).read_text("utf-8")
        for module in (masked_model, model_check, reading_traits)
    ]
    return digest_of([digest, gradients, tools, trial], size=12)


def _read(file: Path) -> Verdict | None:
    """What is kept there; None where nothing is, or nothing that can be read."""
    try:
        kept = json.loads(file.read_text("utf-8"))
        for part in ("removals", "gradients"):
            kept[part] = {name: Trial(**trial) for name, trial in kept[part].items()}
        return Verdict(**kept | {"attention": Trial(**kept["attention"])})
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def _write(file: Path, verdict: Verdict) -> None:
    """Keeps it; where that cannot be, the model is tried again by the next process."""
    try:
        write_text(file, json.dumps(asdict(verdict), indent=2) + "\n")
    except OSError as error:
        warn_once("checks", f"what came of trying the model is not kept: {error}")
