"""GMASK: word-group masks across a sentence pair (Section 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gmask_pl.explainers.base import Explainer, example_generators
from gmask_pl.explainers.coalition import (
    all_coalitions,
    choose_candidates,
    merge_scores,
    word_masks,
)
from gmask_pl.explainers.fitting import fit
from gmask_pl.explainers.group_mask import (
    ExactLoss,
    ExpectedLoss,
    GroupMask,
    GroupShape,
    SampledLoss,
    table_answer,
)
from gmask_pl.explainers.study import Study
from gmask_pl.masking import MaskedModel
from gmask_pl.types import JSON, Attributions, Groups, PairBatch, UserError

ESTIMATORS = ("exact", "straight_through", "sampled")


class GMask(Explainer):
    """Groups correlated words of both sides and weighs the groups (Eqs. 2 to 8).

    word_filter: the explainer whose k best words are grouped (IMASK in the paper). The number of
    groups is t = min(k_1, k_2), but at least 2, since one group ranks nothing.

    estimator of E[cross-entropy] in Eq. 7:
    - ``exact``: in closed form from a table of the model's answers to all 2^k masks; it needs
      no gradients beyond those of the filter;
    - ``straight_through``: the paper's Gumbel-softmax samples, read from such a table;
    - ``sampled``: the same samples, the model being asked at every step, as the paper ran it.

    context: whether the words outside the k are dropped or kept while the k are studied.
    samples, temperature, gradient_scale: of the two sampling estimators. epochs, tolerance,
    patience: see `fitting.fit`; the other settings are GroupMask's.

    The k words score theta of Eq. 8; the other words follow in the filter's order, below them.
    """

    def __init__(
        self,
        *,
        removal: str,
        word_filter: Explainer,
        k: int,
        estimator: str,
        context: str,
        samples: int,
        temperature: float,
        gradient_scale: float,
        epochs: int,
        tolerance: float | None,
        patience: int,
        gamma_z: float,
        gamma_g: float,
        logit_bound: float | None,
        init_noise: float,
        lr: float,
        cosine_period: int | None,
        evenness: str,
        seed: int,
    ) -> None:
        super().__init__(removal=removal)
        if estimator not in ESTIMATORS:
            raise UserError(f"unknown estimator {estimator!r}: choose one of {ESTIMATORS}")
        if k < 2:
            raise UserError(f"k={k}: at least 2 words are needed to form groups")
        self.word_filter, self.k, self.estimator, self.context = word_filter, k, estimator, context
        self.sampling: dict[str, Any] = {
            "samples": samples,
            "temperature": temperature,
            "gradient_scale": gradient_scale,
        }
        self.stopping: dict[str, Any] = {
            "epochs": epochs,
            "tolerance": tolerance,
            "patience": patience,
        }
        self.objective: dict[str, Any] = {
            "gamma_z": gamma_z,
            "gamma_g": gamma_g,
            "logit_bound": logit_bound,
            "init_noise": init_noise,
            "lr": lr,
            "cosine_period": cosine_period,
            "evenness": evenness,
        }
        self.seed = seed
        self.needs_gradients = word_filter.needs_gradients or estimator != "exact"

    def __call__(self, masked: MaskedModel) -> Attributions:
        filtered = self.word_filter(masked).scores
        candidates = choose_candidates(filtered, masked.batch, self.k)
        shape = group_shape(candidates, masked.batch)
        generators = example_generators(self.seed, masked.batch.ids)
        studied = self.studied(masked, candidates)
        loss = self.expected_loss(studied, candidates, shape, generators)
        masks = GroupMask(shape, loss, generators, **self.objective)
        phi, psi, _ = fit(masks, **self.stopping)
        theta = (phi * psi[:, None]).sum(-1)
        return Attributions(
            merge_scores(theta, candidates, filtered, masked.batch.word_valid),
            read_groups(candidates, phi, psi, shape),
        )

    def prepare(self, study: Study) -> JSON:
        return self.word_filter.prepare(study)

    def studied(self, masked: MaskedModel, candidates: Tensor) -> MaskedModel:
        """The model and the text over which the masks of the candidates are learnt."""
        return masked

    def expected_loss(
        self,
        masked: MaskedModel,
        candidates: Tensor,
        shape: GroupShape,
        generators: list[torch.Generator],
    ) -> ExpectedLoss:
        """The chosen estimator of E[cross-entropy] over masks of the candidates."""
        valid = masked.batch.word_valid

        def ask(bits: Tensor, *, distinct: bool) -> tuple[Tensor, Tensor]:
            keep = word_masks(bits, candidates, valid, self.context)
            loss, gradient = masked.cross_entropy_gradient(keep, distinct=distinct)
            columns = candidates.clamp_min(0)[:, None].expand(-1, keep.shape[1], -1)
            return loss, gradient.gather(2, columns) * shape.used[:, None]

        if self.estimator == "sampled":
            return SampledLoss(
                lambda bits: ask(bits, distinct=False), shape, generators, **self.sampling
            )
        bits = all_coalitions(candidates.shape[1]).to(valid.device)[None]
        if self.estimator == "exact":
            return ExactLoss(
                masked.cross_entropy(word_masks(bits, candidates, valid, self.context))
            )
        answer = table_answer(*ask(bits, distinct=True))
        return SampledLoss(answer, shape, generators, **self.sampling)


def group_shape(candidates: Tensor, batch: PairBatch) -> GroupShape:
    """Sides of the candidates and t = max(2, min(k_1, k_2)) of every pair."""
    side = batch.word_side.gather(1, candidates.clamp_min(0))
    side = torch.where(candidates < 0, -1, side)
    smaller = torch.minimum((side == 0).sum(1), (side == 1).sum(1))
    return GroupShape(side, smaller.clamp_min(2))


def read_groups(
    candidates: Tensor, phi: Tensor, psi: Tensor, shape: GroupShape
) -> tuple[Groups, ...]:
    """The fitted groups of every pair, without unused slots."""
    groups = []
    for row, (words, t) in enumerate(
        zip(shape.used.sum(1).tolist(), shape.groups.tolist(), strict=True)
    ):
        groups.append(
            Groups(
                candidates=tuple(candidates[row, :words].tolist()),
                phi=tuple(tuple(member) for member in phi[row, :words, :t].tolist()),
                psi=tuple(psi[row, :t].tolist()),
            )
        )
    return tuple(groups)
