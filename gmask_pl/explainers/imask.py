"""IMASK: individual word masks (Section 3.3), after Chen and Ji (2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from gmask_pl.explainers.base import (
    Explainer,
    bounded,
    example_generators,
    gumbel_noise,
    straight_through,
)
from gmask_pl.masking import MaskedModel
from gmask_pl.types import Attributions, UserError

REGULARISERS = ("entropy", "released")


class IMask(Explainer):
    """Learns for every word the probability that its mask keeps it, E[R].

    Minimises E[cross-entropy to the prediction] + beta * regulariser by ``samples``
    Gumbel-softmax masks in each of ``epochs`` epochs of Adam. The regulariser ``entropy`` is
    the KL divergence from Bernoulli(1/2), Chen and Ji's information bottleneck; ``released`` is
    the sum of p log p over the keeping half alone, as in the authors' GMASK code.

    It asks the model samples * epochs times a pair, with gradients. logit_bound: None, or the
    bound of a sigmoid on the logits (1 in the authors' code).
    """

    needs_gradients = True

    def __init__(
        self,
        *,
        removal: str,
        samples: int,
        epochs: int,
        lr: float,
        beta: float,
        temperature: float,
        logit_bound: float | None,
        regulariser: str,
        seed: int,
    ) -> None:
        super().__init__(removal=removal)
        if regulariser not in REGULARISERS:
            raise UserError(f"unknown regulariser {regulariser!r}: choose one of {REGULARISERS}")
        self.samples, self.epochs, self.lr, self.beta = samples, epochs, lr, beta
        self.temperature, self.logit_bound = temperature, logit_bound
        self.regulariser, self.seed = regulariser, seed

    def __call__(self, masked: MaskedModel) -> Attributions:
        batch = masked.batch
        valid, device = batch.word_valid, batch.device
        width = valid.shape[1]
        generators = example_generators(self.seed, batch.ids)
        shapes = [
            (self.samples, len(one) + len(two), 2)
            for one, two in zip(batch.words1, batch.words2, strict=True)
        ]
        raw = torch.ones(len(batch), width, 2, device=device, requires_grad=True)
        optimizer = torch.optim.Adam([raw], lr=self.lr)
        for _ in range(self.epochs):
            noise = gumbel_noise(generators, shapes, (self.samples, width, 2)).to(device)
            with torch.enable_grad():
                logits = bounded(raw, self.logit_bound)
                masks = straight_through(logits[:, None], noise, self.temperature)[..., 1]
            _, gradient = masked.cross_entropy_gradient(masks.detach() > 0.5)
            with torch.enable_grad():
                # Linear in the masks, so its gradient in the logits is the cross-entropy's.
                loss = (masks * gradient).sum() / self.samples
                loss = loss + self.beta * (self._regulariser(logits) * valid).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scores = bounded(raw.detach(), self.logit_bound).softmax(-1)[..., 1]
        return Attributions(scores * valid, (None,) * len(batch))

    def _regulariser(self, logits: Tensor) -> Tensor:
        p = logits.softmax(-1)
        information = p * logits.log_softmax(-1)
        return information[..., 1] if self.regulariser == "released" else information.sum(-1)
