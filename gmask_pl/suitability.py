"""Whether a model is right for an explainer: what it asks is tried before anything is explained."""

from __future__ import annotations

import logging
from pathlib import Path

from gmask_pl.escaping import terminal
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.identity.of_model import ModelIdentity
from gmask_pl.models.model_check import Verdict, name_of
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.models.verdicts import tried
from gmask_pl.types import UserError

_log = logging.getLogger(__name__)


def removal_for(explainer: Explainer, classifier: PairClassifier) -> str:
    """How an explainer removes words from what a model reads.

    Where it says nothing, as the model usually does, else the best that is right for the model.
    Raises UserError where what it asks of the model is not right.
    """
    verdict, gradients = tried_for(explainer, classifier)
    right = verdict.right(gradients=gradients)
    wanted = explainer.removal or classifier.usual_removal
    if wanted not in right and explainer.removal is None and right:
        tried = verdict.gradients if verdict.removals[wanted].ok else verdict.removals
        why = tried[wanted].reason
        _log.warning(
            terminal(f"removal={right[0]}, as {wanted} is not right for this model: {why}")
        )
        return right[0]
    verdict.refuse(name_of(classifier), wanted, setting="removal", gradients=gradients)
    return wanted


def tried_for(
    explainer: Explainer,
    classifier: PairClassifier,
    folder: Path | None = None,
    model: ModelIdentity | None = None,
) -> tuple[Verdict, bool]:
    """What came of trying a model, and whether the explainer asks for gradients under its removal.

    folder: where verdicts are kept for other processes; None: nowhere. model: the identity of the
    classifier, where it is known. Raises UserError where the
    explainer reads attention that the model does not tell.
    """
    parts = list(explainer.parts())
    gradients = any(part.differentiates_masks for part in parts)
    verdict = tried(classifier, folder, gradients=gradients, model=model)
    if any(part.reads_attention for part in parts) and not verdict.attention.ok:
        raise UserError(f"{verdict.attention.reason} (this is asked by {type(explainer).__name__})")
    return verdict, gradients
