"""Explanations of sentence-pair classifiers by learned word-group masks (GMASK).

What a user imports is here, and loaded when it is asked for::

    from gmask_pl import BertPairClassifier, GMask, PairExplainer

    explain = PairExplainer(BertPairClassifier.from_weights("FOLDER"), GMask())
    (found,) = explain([("a man plays the guitar", "a man plays the banjo")])

Runs with their settings, files and reports are in `gmask_pl.pipeline`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmask_pl.api import NotExplained as NotExplained
    from gmask_pl.api import PairExplainer as PairExplainer
    from gmask_pl.api import Truncated as Truncated
    from gmask_pl.explainers._group_mask import Fit as Fit
    from gmask_pl.explainers._group_mask import Objective as Objective
    from gmask_pl.explainers._group_mask import Sampling as Sampling
    from gmask_pl.explainers.attention import Attention as Attention
    from gmask_pl.explainers.explainer import Explainer as Explainer
    from gmask_pl.explainers.gmask import GMask as GMask
    from gmask_pl.explainers.gmask_released import GMaskReleased as GMaskReleased
    from gmask_pl.explainers.gradient_x_input import GradientXInput as GradientXInput
    from gmask_pl.explainers.grouping import InteractionGroups as InteractionGroups
    from gmask_pl.explainers.grouping import RandomGroups as RandomGroups
    from gmask_pl.explainers.iba import IBA as IBA
    from gmask_pl.explainers.imask import IMask as IMask
    from gmask_pl.explainers.integrated_gradients import IntegratedGradients as IntegratedGradients
    from gmask_pl.explainers.interaction import Interaction as Interaction
    from gmask_pl.explainers.kernel_shap import KernelShap as KernelShap
    from gmask_pl.explainers.l2x import L2X as L2X
    from gmask_pl.explainers.lime import Lime as Lime
    from gmask_pl.explainers.occlusion import Occlusion as Occlusion
    from gmask_pl.explainers.oracle import Oracle as Oracle
    from gmask_pl.explainers.paired_ridge import PairedRidge as PairedRidge
    from gmask_pl.explainers.random import Random as Random
    from gmask_pl.explainers.shapley import Shapley as Shapley
    from gmask_pl.metrics.faithfulness.aopc import AOPC as AOPC
    from gmask_pl.metrics.faithfulness.comprehensiveness import (
        Comprehensiveness as Comprehensiveness,
    )
    from gmask_pl.metrics.faithfulness.degradation import Degradation as Degradation
    from gmask_pl.metrics.faithfulness.naopc import NormalisedAOPC as NormalisedAOPC
    from gmask_pl.metrics.faithfulness.post_hoc_accuracy import PostHocAccuracy as PostHocAccuracy
    from gmask_pl.metrics.faithfulness.sufficiency import Sufficiency as Sufficiency
    from gmask_pl.metrics.groups.alignment import AlignmentAgreement as AlignmentAgreement
    from gmask_pl.metrics.groups.group_effect import GroupEffect as GroupEffect
    from gmask_pl.metrics.groups.group_evidence import GroupEvidence as GroupEvidence
    from gmask_pl.metrics.groups.group_sides import GroupSides as GroupSides
    from gmask_pl.metrics.pair_metric import ModelFreeMetric as ModelFreeMetric
    from gmask_pl.metrics.pair_metric import PairMetric as PairMetric
    from gmask_pl.metrics.plausibility.evidence import EvidenceRecovery as EvidenceRecovery
    from gmask_pl.metrics.plausibility.rationale_agreement import (
        RationaleAgreement as RationaleAgreement,
    )
    from gmask_pl.metrics.torchmetric import ExplanationMetric as ExplanationMetric
    from gmask_pl.models.bert import BertPairClassifier as BertPairClassifier
    from gmask_pl.models.bert_tiny import TinyBert as TinyBert
    from gmask_pl.models.dattn import DecomposableAttention as DecomposableAttention
    from gmask_pl.models.pair_classifier import PairClassifier as PairClassifier
    from gmask_pl.store import read_explanations as read_explanations
    from gmask_pl.store import write_explanations as write_explanations
    from gmask_pl.types import Explanation as Explanation
    from gmask_pl.types import UserError as UserError

__version__ = "0.1.0"

# Said again for who runs it; a test holds both together.
_NAMES = {
    "api": ("NotExplained", "PairExplainer", "Truncated"),
    "explainers._group_mask": ("Fit", "Objective", "Sampling"),
    "explainers.attention": ("Attention",),
    "explainers.explainer": ("Explainer",),
    "explainers.gmask": ("GMask",),
    "explainers.gmask_released": ("GMaskReleased",),
    "explainers.gradient_x_input": ("GradientXInput",),
    "explainers.grouping": ("InteractionGroups", "RandomGroups"),
    "explainers.iba": ("IBA",),
    "explainers.imask": ("IMask",),
    "explainers.integrated_gradients": ("IntegratedGradients",),
    "explainers.interaction": ("Interaction",),
    "explainers.kernel_shap": ("KernelShap",),
    "explainers.l2x": ("L2X",),
    "explainers.lime": ("Lime",),
    "explainers.occlusion": ("Occlusion",),
    "explainers.oracle": ("Oracle",),
    "explainers.paired_ridge": ("PairedRidge",),
    "explainers.random": ("Random",),
    "explainers.shapley": ("Shapley",),
    "metrics.faithfulness.aopc": ("AOPC",),
    "metrics.faithfulness.comprehensiveness": ("Comprehensiveness",),
    "metrics.faithfulness.degradation": ("Degradation",),
    "metrics.faithfulness.naopc": ("NormalisedAOPC",),
    "metrics.faithfulness.post_hoc_accuracy": ("PostHocAccuracy",),
    "metrics.faithfulness.sufficiency": ("Sufficiency",),
    "metrics.groups.alignment": ("AlignmentAgreement",),
    "metrics.groups.group_effect": ("GroupEffect",),
    "metrics.groups.group_evidence": ("GroupEvidence",),
    "metrics.groups.group_sides": ("GroupSides",),
    "metrics.pair_metric": ("ModelFreeMetric", "PairMetric"),
    "metrics.plausibility.evidence": ("EvidenceRecovery",),
    "metrics.plausibility.rationale_agreement": ("RationaleAgreement",),
    "metrics.torchmetric": ("ExplanationMetric",),
    "models.bert": ("BertPairClassifier",),
    "models.bert_tiny": ("TinyBert",),
    "models.dattn": ("DecomposableAttention",),
    "models.pair_classifier": ("PairClassifier",),
    "store": ("read_explanations", "write_explanations"),
    "types": ("Explanation", "UserError"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
