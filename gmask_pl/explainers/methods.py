"""Every explainer by the name that it has in ``conf/explainer`` and on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from gmask_pl.explainers.attention import Attention
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.gmask import GMask
from gmask_pl.explainers.gmask_released import GMaskReleased
from gmask_pl.explainers.gradient_x_input import GradientXInput
from gmask_pl.explainers.grouping import InteractionGroups, RandomGroups
from gmask_pl.explainers.iba import IBA
from gmask_pl.explainers.imask import IMask
from gmask_pl.explainers.integrated_gradients import IntegratedGradients
from gmask_pl.explainers.interaction import Interaction
from gmask_pl.explainers.joint_groups import JointGroups
from gmask_pl.explainers.kernel_shap import KernelShap
from gmask_pl.explainers.l2x import L2X
from gmask_pl.explainers.lime import Lime
from gmask_pl.explainers.occlusion import Occlusion
from gmask_pl.explainers.oracle import Oracle
from gmask_pl.explainers.paired_ridge import PairedRidge
from gmask_pl.explainers.random import Random
from gmask_pl.explainers.shapley import Shapley
from gmask_pl.explainers.two_sided_search import TwoSidedSearch
from gmask_pl.types import UserError

METHODS: dict[str, Callable[[], Explainer]] = {
    "attention": Attention,
    "gmask": GMask,
    "gmask_released": GMaskReleased,
    "gmask_two_sided": GMask.two_sided,
    "gradient_x_input": GradientXInput,
    "iba": IBA,
    "imask": IMask,
    "imask_released": IMask.released,
    "integrated_gradients": IntegratedGradients,
    "interaction": Interaction,
    "interaction_groups": InteractionGroups.two_sided,
    "joint_groups": JointGroups,
    "keep_one_in": lambda: Occlusion(context="drop"),
    "kernel_shap": KernelShap,
    "l2x": L2X,
    "lime": Lime,
    "lime_filter": lambda: Lime(samples=256),
    "occlusion": Occlusion,
    "occlusion_rounds": lambda: Occlusion(rounds=2),
    "one_word": lambda: Occlusion(context="both"),
    "oracle": Oracle,
    "oracle_lowest": lambda: Oracle(goal="lowest"),
    "paired_ridge": PairedRidge,
    "random": Random,
    "random_groups": RandomGroups.two_sided,
    "shapley": Shapley,
    "two_sided_search": TwoSidedSearch,
}


def method_named(name: str, *, seed: int = 0, removal: str | None = None) -> Explainer:
    """The explainer of a name, with its usual settings.

    seed: of what it draws. removal: how it removes words; None: as it says itself, and else as the
    model usually does. Raises UserError for a name that is none.

    >>> from gmask_pl.explainers.methods import method_named
    >>> type(method_named("lime", seed=1)).__name__
    'Lime'
    """
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UserError(
            f"method={name}: there is no such method{meant or '.'} There are {', '.join(METHODS)}"
        )
    explainer = METHODS[name]()
    for part in explainer.parts():
        if hasattr(part, "seed"):
            part.seed = seed
        if removal is not None:
            part.removal = removal
    return explainer
