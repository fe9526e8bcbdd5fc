"""What `gmask_pl` exports, for type checkers, and where ``__init__.py`` finds it."""

from gmask_pl.api import NotExplained as NotExplained
from gmask_pl.api import PairExplainer as PairExplainer
from gmask_pl.api import Truncated as Truncated
from gmask_pl.certificates import Certificates as Certificates
from gmask_pl.certificates import GroupCertificate as GroupCertificate
from gmask_pl.certificates import WordSet as WordSet
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
from gmask_pl.explainers.joint_groups import JointGroups as JointGroups
from gmask_pl.explainers.kernel_shap import KernelShap as KernelShap
from gmask_pl.explainers.l2x import L2X as L2X
from gmask_pl.explainers.lime import Lime as Lime
from gmask_pl.explainers.occlusion import Occlusion as Occlusion
from gmask_pl.explainers.oracle import Oracle as Oracle
from gmask_pl.explainers.paired_ridge import PairedRidge as PairedRidge
from gmask_pl.explainers.random import Random as Random
from gmask_pl.explainers.shapley import Shapley as Shapley
from gmask_pl.explainers.two_sided_search import TwoSidedSearch as TwoSidedSearch
from gmask_pl.explanation import Explanation as Explanation
from gmask_pl.explanation import WordGroup as WordGroup
from gmask_pl.explanations import Explanations as Explanations
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
from gmask_pl.metrics.groups.group_excess import GroupExcess as GroupExcess
from gmask_pl.metrics.groups.group_fit import GroupFit as GroupFit
from gmask_pl.metrics.groups.group_interaction import GroupInteraction as GroupInteraction
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
from gmask_pl.models.function import FunctionClassifier as FunctionClassifier
from gmask_pl.models.judge import JudgeClassifier as JudgeClassifier
from gmask_pl.models.pair_classifier import PairClassifier as PairClassifier
from gmask_pl.models.parts import BiEncoder as BiEncoder
from gmask_pl.responses import Responses as Responses
from gmask_pl.store import read_explanations as read_explanations
from gmask_pl.store import write_explanations as write_explanations
from gmask_pl.types import UserError as UserError

__version__: str
__all__: list[str]
