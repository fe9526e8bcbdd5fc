"""Fits a batch of masks, each pair until its own parameters are stable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gmask_pl.settings import Count, NotNegative, Positive, checked_fields

if TYPE_CHECKING:
    from gmask_pl.explainers._group_mask import GroupMask


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Of the descent of Eq. 7 by Adam.

    epochs: at most. tolerance, patience: a pair is stable when no entry of its phi and psi moved
    by more than ``tolerance`` in each of ``patience`` successive epochs; None: it always runs all
    epochs. lr: Adam's; cosine_period: epochs of its cosine annealing, or None.
    """

    epochs: Count = 100  # Section 3.3
    tolerance: NotNegative | None = 1e-3  # this project's, as patience: the authors run all epochs
    patience: Count = 3
    lr: Positive = 0.1  # the authors' code
    cosine_period: Count | None = None


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
