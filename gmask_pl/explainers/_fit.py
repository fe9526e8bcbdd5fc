"""Fits a batch of masks, each pair until its own parameters are stable."""

from __future__ import annotations

import torch
from torch import Tensor

from gmask_pl.explainers._group_mask import GroupMask


def fit(
    masks: GroupMask, *, epochs: int, tolerance: float | None, patience: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs a GroupMask's own training step and optimiser; returns phi, psi and epochs spent (B,).

    A pair is stable when no entry of its phi and psi moved by more than ``tolerance`` in each of
    ``patience`` successive epochs; what it held then is its result. ``tolerance=None`` always
    runs all ``epochs``. A `Trainer` would give the same numbers, but its set-up costs more than a
    whole exact fit, and one is already running: the one that predicts over the test set.
    """
    (optimizer,), schedulers = masks.configure_optimizers()
    phi, psi = masks.phi.detach().clone(), masks.psi.detach().clone()
    quiet = torch.zeros(len(psi), dtype=torch.int64, device=psi.device)
    spent = torch.zeros_like(quiet)
    settled = torch.zeros_like(quiet, dtype=torch.bool)
    with torch.enable_grad():
        for epoch in range(epochs):
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
                if tolerance is not None:
                    quiet = torch.where(moved <= tolerance, quiet + 1, 0)
                    settled |= quiet >= patience
            if tolerance is not None and bool(settled.all()):
                break
    return phi, psi, spent
