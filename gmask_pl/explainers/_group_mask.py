"""GroupMask: the parameters of GMASK for a batch of pairs, objective (Section 3.2) and fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from gmask_pl.explainers._coalition import coalition_index, multilinear_extension
from gmask_pl.explainers.explainer import bounded, gumbel_noise, straight_through
from gmask_pl.settings import Count, NotNegative, OneOf, Positive, checked_fields

EVENNESS = ("mean", "softmax")


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Settings of the estimators that sample: the paper's Gumbel-softmax (Appendix A).

    - samples: masks per epoch.
    - temperature: tau of Eq. 13.
    - gradient_scale: the factor of the straight-through derivative.

    Raises UserError for values out of range.

    >>> from gmask_pl import GMask, Sampling
    >>> GMask(estimator="straight_through", sampling=Sampling(samples=100)).sampling
    Sampling(samples=100, temperature=0.5, gradient_scale=1.0)
    """

    samples: Count = 500  # the authors' code for BERT; Section 3.3: 100 to 1,000
    temperature: Positive = 0.5  # the authors' code
    gradient_scale: Positive = 1.0  # Eq. 13 as it is


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Settings of the objective, Eq. 7.

    - gamma_z, gamma_g: the weights gamma_1 and gamma_2.
    - evenness: ``mean`` for the averages of Eq. 6, ``softmax`` for the authors' softmax of sums.
    - logit_bound: None, or the bound of a sigmoid on the logits, which grades scores.
    - init_noise: standard deviation of the initial logits around equal groups; an exact gradient
      has no direction where all groups are the same.

    Raises UserError for values out of range.

    >>> from gmask_pl import GMask, Objective
    >>> GMask(objective=Objective(gamma_z=5.0, logit_bound=None)).objective.gamma_z
    5.0
    """

    gamma_z: float = 10.0  # Section 3.3
    gamma_g: float = 1.0  # Section 3.3
    evenness: Annotated[str, OneOf(EVENNESS)] = "mean"  # Eq. 6
    logit_bound: Positive | None = 5.0  # chosen on dev pairs
    init_noise: NotNegative = 0.01  # this project's


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Settings of Adam, which minimises Eq. 7.

    - epochs: the largest number of epochs.
    - tolerance, patience: a pair is stable when no entry of its phi and psi moved by more than
      ``tolerance`` in each of ``patience`` successive epochs; None: it always runs all epochs.
    - lr: the learning rate.
    - cosine_period: epochs of the cosine annealing, or None.

    Raises UserError for values out of range.

    >>> from gmask_pl import Fit, GMask
    >>> GMask(fit=Fit(epochs=50)).fit
    Fit(epochs=50, tolerance=0.001, patience=3, lr=0.1, cosine_period=None)
    """

    epochs: Count = 100  # Section 3.3
    tolerance: NotNegative | None = 1e-3  # this project's, as patience: the authors run all epochs
    patience: Count = 3
    lr: Positive = 0.1  # the authors' code
    cosine_period: Count | None = None


@dataclass(frozen=True)
class GroupShape:
    """Which slots exist. side (B, k): 0 or 1, -1 for an unused slot; groups (B,): t per pair."""

    side: Tensor
    groups: Tensor

    @cached_property
    def used(self) -> Tensor:
        """(B, k) bool."""
        return self.side >= 0

    @cached_property
    def group_used(self) -> Tensor:
        """(B, t) bool, t being the largest number of groups in the batch."""
        largest = torch.arange(int(self.groups.max()), device=self.groups.device)
        return largest < self.groups[:, None]

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """How many words and groups each pair has."""
        return list(zip(self.used.sum(1).tolist(), self.groups.tolist(), strict=True))


# E[cross-entropy] of each pair, (B,), given the logits of Z (B, k, t) and of G (B, t).
ExpectedLoss = Callable[[Tensor, Tensor], Tensor]


class ExactLoss:
    """The closed form of E[cross-entropy] over a coalition table (B, 2^k).

    Given the drawn group, the mask bits are independent Bernoulli(phi_j), so the expectation is
    sum over groups of psi times the table's multilinear extension at that group's column of Phi.
    """

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def __call__(self, z_logits: Tensor, g_logits: Tensor) -> Tensor:
        phi, psi = z_logits.softmax(-1), g_logits.softmax(-1)
        return (psi * multilinear_extension(self.table, phi.transpose(1, 2))).sum(-1)


Answer = Callable[[Tensor], tuple[Tensor, Tensor]]


class SampledLoss:
    """The paper's estimator: Gumbel-softmax samples of Z and G (Appendix A).

    ``answer`` maps hard masks over the candidates (B, S, k) bool to the cross-entropy (B, S) and
    its gradient in the masks (B, S, k): the model itself, or a table of its answers. The value
    is the mean loss of the samples; its derivative is straight-through, times
    ``gradient_scale`` (1 in the paper).
    """

    def __init__(
        self,
        answer: Answer,
        shape: GroupShape,
        generators: Sequence[torch.Generator],
        sampling: Sampling,
    ) -> None:
        self.answer, self.generators, self.sampling = answer, generators, sampling
        self.z_shapes = [(sampling.samples, k, t) for k, t in shape.sizes]
        self.g_shapes = [(sampling.samples, t) for _, t in shape.sizes]

    def __call__(self, z_logits: Tensor, g_logits: Tensor) -> Tensor:
        samples, temperature = self.sampling.samples, self.sampling.temperature
        z_noise = gumbel_noise(self.generators, self.z_shapes, (samples, *z_logits.shape[1:]))
        g_noise = gumbel_noise(self.generators, self.g_shapes, (samples, *g_logits.shape[1:]))
        z = straight_through(z_logits[:, None], z_noise.to(z_logits), temperature)
        g = straight_through(g_logits[:, None], g_noise.to(g_logits), temperature)
        masks = (z * g[:, :, None]).sum(-1)
        loss, gradient = self.answer(masks.detach() > 0.5)
        # Valued as the loss, differentiated as loss(w) through w.
        moved = (masks - masks.detach()) * self.sampling.gradient_scale
        estimate = loss + (moved * gradient).sum(-1)
        return estimate.mean(1)


def table_answer(table: Tensor, gradient: Tensor) -> Answer:
    """Answers read from a table (B, 2^k) and its gradients (B, 2^k, k)."""

    def answer(bits: Tensor) -> tuple[Tensor, Tensor]:
        index = coalition_index(bits)
        chosen = index[..., None].expand(*index.shape, gradient.shape[-1])
        return table.gather(1, index), gradient.gather(1, chosen)

    return answer


class GroupMask(LightningModule):
    """Phi and Psi of every pair of a batch, and the objective of Eq. 7.

    The loss is the sum over pairs, so each pair is fitted as if it were alone. The task model is
    not part of this module: it speaks through ``expected_loss``.

    settings: of the objective; descent: of Adam.
    """

    def __init__(
        self,
        shape: GroupShape,
        expected_loss: ExpectedLoss,
        generators: Sequence[torch.Generator],
        settings: Objective,
        descent: Fit,
    ) -> None:
        super().__init__()
        self.shape, self.expected_loss = shape, expected_loss
        self.settings, self.descent = settings, descent
        b, k = shape.side.shape
        t = shape.group_used.shape[1]
        # Drawn by each pair's own shape, so that batch padding does not change the start.
        z, g = torch.zeros(b, k, t), torch.zeros(b, t)
        for row, (words, groups) in enumerate(shape.sizes):
            z[row, :words, :groups] = torch.randn(words, groups, generator=generators[row])
            g[row, :groups] = torch.randn(groups, generator=generators[row])
        start = 0.0 if settings.logit_bound is None else 1.0
        init_noise = settings.init_noise
        self.z_raw = torch.nn.Parameter((start + init_noise * z).to(shape.side.device))
        self.g_raw = torch.nn.Parameter((start + init_noise * g).to(shape.side.device))

    @property
    def z_logits(self) -> Tensor:
        """Logits of Z (B, k, t); -inf in groups a pair does not have."""
        absent = ~self.shape.group_used[:, None]
        return bounded(self.z_raw, self.settings.logit_bound).masked_fill(absent, -torch.inf)

    @property
    def g_logits(self) -> Tensor:
        """Logits of G (B, t)."""
        return bounded(self.g_raw, self.settings.logit_bound).masked_fill(
            ~self.shape.group_used, -torch.inf
        )

    @property
    def phi(self) -> Tensor:
        """Eq. 5, (B, k, t): zero rows in unused slots."""
        return self.z_logits.softmax(-1) * self.shape.used[..., None]

    @property
    def psi(self) -> Tensor:
        """Group importance (B, t)."""
        return self.g_logits.softmax(-1)

    def objective(self) -> Tensor:
        """Eq. 7 of each pair, (B,)."""
        loss = self.expected_loss(self.z_logits, self.g_logits)
        evenness = sum(self._side_entropy(side) for side in (0, 1))
        of = self.settings
        return loss - of.gamma_z * evenness + of.gamma_g * entropy(self.psi)

    def _side_entropy(self, side: int) -> Tensor:
        """H(Z^U) or H(Z^L), Eq. 6, (B,); a constant for a side without candidates."""
        phi = self.phi * (self.shape.side == side)[..., None]
        if self.settings.evenness == "softmax":
            absent = ~self.shape.group_used
            return entropy(phi.sum(1).masked_fill(absent, -torch.inf).softmax(-1))
        count = (self.shape.side == side).sum(1, keepdim=True)
        return entropy(phi.sum(1) / count.clamp_min(1))

    def training_step(self, batch: Any = None, batch_idx: int = 0) -> Tensor:
        return self.objective().sum()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.descent.lr)
        if (period := self.descent.cosine_period) is None:
            return [optimizer], []
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, period)]


def fit_groups(masks: GroupMask, how: Fit) -> tuple[Tensor, Tensor, Tensor]:
    """Runs a GroupMask's own training step and optimiser; returns phi, psi and epochs spent (B,).

    What a pair held when it became stable is its result. A `Trainer` would give the same numbers,
    but its set-up costs more than a whole exact fit, and one is already running: the one that
    predicts over the test set.
    """
    (optimizer,), schedulers = masks.configure_optimizers()
    phi, psi = masks.phi.detach().clone(), masks.psi.detach().clone()
    quiet = torch.zeros(len(psi), dtype=torch.int64, device=psi.device)
    spent = torch.zeros_like(quiet)
    settled = torch.zeros_like(quiet, dtype=torch.bool)
    with torch.enable_grad():
        for epoch in range(how.epochs):
            optimizer.zero_grad()
            masks.training_step(batch_idx=epoch).backward()
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
            with torch.no_grad():
                moved = torch.maximum(
                    (masks.phi - phi).abs().amax((1, 2)), (masks.psi - psi).abs().amax(1)
                )
                phi = torch.where(settled[:, None, None], phi, masks.phi)
                psi = torch.where(settled[:, None], psi, masks.psi)
                spent += ~settled
                if how.tolerance is not None:
                    quiet = torch.where(moved <= how.tolerance, quiet + 1, 0)
                    settled |= quiet >= how.patience
            if how.tolerance is not None and bool(settled.all()):
                break
    return phi, psi, spent


def entropy(p: Tensor) -> Tensor:
    """H(p) over the last axis in nats, 0 log 0 being 0 with a zero derivative."""
    safe = torch.where(p > 0, p, 1.0)
    return -(p * safe.log()).sum(-1)
