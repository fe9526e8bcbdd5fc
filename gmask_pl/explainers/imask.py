"""IMASK: individual word masks (Section 3.3), after Chen and Ji (2020)."""

from __future__ import annotations

from typing import Annotated, Any, Self

import torch
from torch import Tensor

from gmask_pl.explainers.explainer import (
    Explainer,
    bounded,
    example_generators,
    gumbel_noise,
    small_enough,
    straight_through,
)
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import Count, NotNegative, OneOf, Positive, Seed, checked
from gmask_pl.types import Attributions, UserError

ESTIMATORS = ("score_function", "straight_through")
REGULARISERS = ("entropy", "released")


class IMask(Explainer):
    """Learns for every word the probability that its mask keeps it, E[R].

    It minimises E[cross-entropy to the prediction] + beta * regulariser by Adam, in samples *
    epochs model evaluations per pair.

    - removal: how words are removed; None: as the model usually does.
    - estimator: of the gradient of the expectation, see below.
    - samples: masks per epoch. epochs, lr: of Adam.
    - beta: the weight of the regulariser.
    - temperature: of the straight-through masks.
    - logit_bound: None, or the bound of a sigmoid on the logits (1 in the authors' code).
    - regulariser: ``entropy`` is the KL divergence from Bernoulli(1/2), Chen and Ji's information
      bottleneck; ``released`` is the sum of p log p over the keeping half alone, as in the authors'
      GMASK code.
    - seed: of the masks that are drawn.

    Estimators:

    - ``score_function``: the masks' losses, less the mean of the others, times the gradient of
      their log-probability (Williams, 1992; Kool et al., 2019). It is unbiased and asks a model
      for nothing but its answers;
    - ``straight_through``: Gumbel-softmax masks, as the paper has it (Appendix A). It takes the
      model's slope at a kept word for the effect of removing it: the two differ where the model
      is saturated.

    The defaults are those of the authors' code, except the bound and the estimator, which is far
    better than theirs on e-SNLI dev pairs with BERT. Raises UserError for score_function with one
    sample.

    >>> from gmask_pl import IMask, PairExplainer
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(model, method=IMask(), labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> sorted(word for word, _ in found.top(2))
    ['never', 'not']
    """

    score_meaning = "probability from 0 to 1 that the word is kept; never negative"

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        estimator: Annotated[str, OneOf(ESTIMATORS)] = "score_function",
        samples: Count = 10,
        epochs: Count = 10,
        lr: Positive = 0.1,
        beta: NotNegative = 0.1,
        temperature: Positive = 1.0,
        logit_bound: Positive | None = None,
        regulariser: Annotated[str, OneOf(REGULARISERS)] = "entropy",
        seed: Seed = 0,
    ) -> None:
        super().__init__(removal=removal)
        if estimator == "score_function" and samples < 2:
            raise UserError(
                f"samples={samples}: score_function compares masks with one another, so it needs "
                "at least 2 an epoch"
            )
        self.samples, self.epochs, self.lr, self.beta = samples, epochs, lr, beta
        self.temperature, self.logit_bound = temperature, logit_bound
        self.regulariser, self.seed = regulariser, seed
        self.estimator = estimator
        self.differentiates_masks = estimator == "straight_through"

    @classmethod
    def released(cls, **changes: Any) -> Self:
        """IMASK as in the authors' code, for models whose attention is masked (BERT).

        - changes: other values for settings of the constructor.

        The authors' attention mask has the slope 1e4 and ours 1, so their beta is divided by 1e4.
        Set beta to 1 for models whose embeddings are masked.

        >>> from gmask_pl import IMask
        >>> released = IMask.released(epochs=50)
        >>> released.estimator, released.beta, released.epochs
        ('straight_through', 1e-05, 50)
        """
        own: dict[str, Any] = {
            "estimator": "straight_through",
            "beta": 1e-5,
            "logit_bound": 1.0,
            "regulariser": "released",
        }
        return cls(**own | changes)

    def _ask_at_most(self, budget: int) -> None:
        small_enough("IMASK", self.samples + 1, budget)
        self.epochs = min(self.epochs, (budget - 1) // self.samples)

    def __call__(self, masked: MaskedModel) -> Attributions:
        batch = masked.batch
        valid, device = batch.word_valid, batch.device
        width = valid.shape[1]
        generators = example_generators(self.seed, batch.keys)
        shapes = [(self.samples, len(words), 2) for words in batch.places]
        raw = torch.ones(len(batch), width, 2, device=device, requires_grad=True)
        optimizer = torch.optim.Adam([raw], lr=self.lr)
        for _ in range(self.epochs):
            noise = gumbel_noise(generators, shapes, (self.samples, width, 2)).to(device)
            with torch.enable_grad():
                logits = bounded(raw, self.logit_bound)
                masks = straight_through(logits[:, None], noise, self.temperature)[..., 1]
                surrogate = self._surrogate(masked, masks, logits)
                loss = surrogate + self.beta * (self._regulariser(logits) * valid).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scores = bounded(raw.detach(), self.logit_bound).softmax(-1)[..., 1]
        return Attributions(scores * valid, (None,) * len(batch))

    def _surrogate(self, masked: MaskedModel, masks: Tensor, logits: Tensor) -> Tensor:
        """A scalar whose gradient in the logits estimates that of the expected cross-entropy."""
        keep = masks.detach() > 0.5
        if self.estimator == "straight_through":
            _, gradient = masked.loss_gradient(keep)
            return (masks * gradient).sum() / self.samples
        loss = masked.loss(keep)
        advantage = (loss - loss.mean(1, keepdim=True)) * self.samples / (self.samples - 1)
        log_p = logits.log_softmax(-1)[:, None]
        drawn = torch.where(keep, log_p[..., 1], log_p[..., 0]) * masked.batch.word_valid[:, None]
        return (advantage[..., None] * drawn).sum() / self.samples

    def _regulariser(self, logits: Tensor) -> Tensor:
        p = logits.softmax(-1)
        information = p * logits.log_softmax(-1)
        return information[..., 1] if self.regulariser == "released" else information.sum(-1)
