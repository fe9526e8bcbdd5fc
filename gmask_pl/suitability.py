"""Whether a model is right for an explainer: what it asks is tried before anything is explained.

What came of it is kept for this process and, in a folder, for others.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
import transformers

from gmask_pl.escaping import terminal
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.files import warn_once, write_text
from gmask_pl.identity.of_model import ModelIdentity, identity_of_model
from gmask_pl.identity.setting_roles import digest_of
from gmask_pl.masking import masked_model
from gmask_pl.models import model_check, reading_traits
from gmask_pl.models.model_check import Trial, Verdict, check, name_of
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import UserError

_log = logging.getLogger(__name__)
_known: dict[str, Verdict] = {}  # what came of trying models in this process


def removal_for(explainer: Explainer, classifier: PairClassifier) -> tuple[str, str]:
    """How an explainer removes words from what a model reads, and why not as the model usually
    does; "" where it does.

    Where it says nothing, as the model usually does, else the best that is right for the model.
    Raises UserError where what it asks of the model is not right.
    """
    verdict, gradients = tried_for(explainer, classifier)
    right = verdict.right(gradients=gradients)
    wanted = explainer.removal or classifier.usual_removal
    if wanted not in right and explainer.removal is None and right:
        trials = verdict.gradients if verdict.removals[wanted].ok else verdict.removals
        why = trials[wanted].reason
        told = f"removal={right[0]}, as {wanted} is not right for this model: {why}"
        _log.warning(terminal(told))
        return right[0], told
    verdict.refuse(name_of(classifier), wanted, setting="removal", gradients=gradients)
    return wanted, ""


def tried_for(
    explainer: Explainer,
    classifier: PairClassifier,
    folder: Path | None = None,
    model: ModelIdentity | None = None,
) -> tuple[Verdict, bool]:
    """What came of trying a model, and whether the explainer asks for gradients under its removal.

    folder: where verdicts are kept for other processes; None: nowhere. model: the identity of the
    classifier, where it is known. Raises UserError where the explainer reads attention that the
    model does not tell.
    """
    parts = list(explainer.parts())
    gradients = any(part.differentiates_masks for part in parts)
    verdict = tried(classifier, folder, gradients=gradients, model=model)
    if any(part.reads_attention for part in parts) and not verdict.attention.ok:
        raise UserError(f"{verdict.attention.reason} (this is asked by {type(explainer).__name__})")
    return verdict, gradients


def tried(
    classifier: PairClassifier,
    folder: Path | None,
    *,
    gradients: bool,
    model: ModelIdentity | None = None,
) -> Verdict:
    """What came of trying the model, now or when it was tried before.

    folder: where that is kept for other processes; None: nowhere. model: its identity, where that
    is known.
    """
    if classifier.declared is not None:
        return _declared(classifier)
    if (judge := classifier.judged_by) is not None:
        of_judge = tried(judge, folder, gradients=False)
        none = Trial(False, f"{type(classifier).__name__} has no gradients and tells no attention")
        return replace(of_judge, gradients=dict.fromkeys(of_judge.removals, none), attention=none)
    model = model or identity_of_model(classifier, "32-true")
    key = check_key(model, type(classifier), gradients=gradients)
    if key not in _known:
        file = None if folder is None else folder / f"{key}.json"
        found = None if file is None else _read(file)
        if found is None:
            found = check(classifier, gradients=gradients)
            if file is not None:
                _write(file, found)
        _known[key] = found
    return _known[key]


def _declared(classifier: PairClassifier) -> Verdict:
    """The verdict of a model that says itself what is right for it."""
    said = {name: Trial(not why, why) for name, why in (classifier.declared or {}).items()}
    none = Trial(False, "the model has no gradients")
    return Verdict(
        removals=said,
        gradients=dict.fromkeys(said, none),
        attention=Trial(False, "the model does not tell its attention"),
        longest=classifier.longest,
        outputs=classifier.outputs,
        together=classifier.together,
        window=classifier.window,
    )


def check_key(model: ModelIdentity, kind: type[PairClassifier], *, gradients: bool) -> str:
    """A name for all that decides what comes of trying a model: it is tried in float32.

    kind: its class, which may be a new one of this project that is being written.
    """
    digest = replace(model, precision="32-true").digest
    tools = f"{torch.__version__} {transformers.__version__}"
    own = [
        sys.modules[base.__module__]
        for base in kind.__mro__
        if base.__module__.startswith("gmask_pl.")
    ]
    trial = [
        Path(str(module.__file__)).read_text("utf-8")
        for module in (masked_model, model_check, reading_traits, *own)
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
