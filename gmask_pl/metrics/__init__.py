"""Metrics of explanations: `faithfulness`, `plausibility` and `groups`, one file a metric.

What a metric is: `PairMetric` asks the model, `ModelFreeMetric` does not, `Presentation` says how
it is shown; `ExplanationMetric` makes a torchmetrics Metric of one that asks the model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmask_pl.metrics.faithfulness import (
        AOPC,
        Comprehensiveness,
        Degradation,
        NormalisedAOPC,
        PostHocAccuracy,
        Sufficiency,
    )
    from gmask_pl.metrics.groups import (
        AlignmentAgreement,
        GroupEffect,
        GroupEvidence,
        GroupSides,
    )
    from gmask_pl.metrics.model_free import ModelFreeMetric
    from gmask_pl.metrics.pair_metric import PairMetric, RankedPairs, evaluate
    from gmask_pl.metrics.plausibility import EvidenceRecovery, RationaleAgreement
    from gmask_pl.metrics.presentation import Presentation
    from gmask_pl.metrics.torchmetric import ExplanationMetric

# fmt: off
__all__ = [
    "AOPC", "AlignmentAgreement", "Comprehensiveness", "Degradation", "EvidenceRecovery",
    "ExplanationMetric", "GroupEffect", "GroupEvidence", "GroupSides", "ModelFreeMetric",
    "NormalisedAOPC", "PairMetric", "PostHocAccuracy", "Presentation", "RankedPairs",
    "RationaleAgreement", "Sufficiency", "evaluate",
]
# fmt: on
# Found when asked for: reports read presentations, and need no metric for it. The last one imports
# torchmetrics, and so matplotlib.
_MODULES = (
    *("presentation", "pair_metric", "model_free", "faithfulness", "plausibility", "groups"),
    "torchmetric",
)


def __getattr__(name: str) -> Any:
    for module in _MODULES if name in __all__ else ():
        there = vars(import_module(f"{__name__}.{module}"))
        if name in there:
            return there[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
