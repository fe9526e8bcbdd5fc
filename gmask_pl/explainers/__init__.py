"""Explainers: each attributes a model's prediction on a pair to words, and may find word groups.

Each is complete by itself, as ``GMask()``, and loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmask_pl.explainers._fit import Fit as Fit
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

_PLACES = {
    "_fit": ("Fit",),
    "_group_mask": ("Objective", "Sampling"),
    "attention": ("Attention",),
    "explainer": ("Explainer",),
    "gmask": ("GMask",),
    "gmask_released": ("GMaskReleased",),
    "gradient_x_input": ("GradientXInput",),
    "grouping": ("InteractionGroups", "RandomGroups"),
    "iba": ("IBA",),
    "imask": ("IMask",),
    "integrated_gradients": ("IntegratedGradients",),
    "interaction": ("Interaction",),
    "kernel_shap": ("KernelShap",),
    "l2x": ("L2X",),
    "lime": ("Lime",),
    "occlusion": ("Occlusion",),
    "oracle": ("Oracle",),
    "paired_ridge": ("PairedRidge",),
    "random": ("Random",),
    "shapley": ("Shapley",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
