"""The loops over a test set, as LightningModules for `Trainer.predict`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from gmask_pl.engine.fingerprint import pair_keys, weights_fingerprint
from gmask_pl.explainers.base import Explainer
from gmask_pl.masking import MaskedModel
from gmask_pl.metrics.base import PairMetric, evaluate
from gmask_pl.models.base import PairClassifier
from gmask_pl.types import Attributions, Explanation, PairBatch, PairScore


class ExplainLoop(LightningModule):
    """Explains every batch; ``found`` collects the explanations in order.

    ``truncated`` counts the pairs that the model could not read whole.
    """

    def __init__(
        self, classifier: PairClassifier, explainer: Explainer, *, token_budget: int
    ) -> None:
        super().__init__()
        self.classifier, self.explainer = classifier, explainer
        self.token_budget = token_budget
        self.found: list[Explanation] = []
        self.truncated = 0

    def predict_step(self, batch: PairBatch, batch_idx: int) -> None:
        start = time.perf_counter()
        masked = MaskedModel(
            self.classifier, batch, self.explainer.removal, token_budget=self.token_budget
        )
        attributions = self.explainer(masked)
        scores = attributions.scores.double().cpu()
        seconds = (time.perf_counter() - start) / len(batch)
        self.truncated += int(batch.truncated.sum())
        self.found += [
            _explanation(batch, masked, attributions, scores, row, seconds)
            for row in range(len(batch))
        ]


class ScoreLoop(LightningModule):
    """Asks the model about the masks of all metrics, for explanations found before.

    metrics: by the removal that they are asked under, then by name. ``pair_scores`` collects
    the rows of every pair in order; ``evaluations`` counts the masked inputs that the model
    answered, which metrics of one removal share.
    """

    def __init__(
        self,
        classifier: PairClassifier,
        explanations: Mapping[str, Explanation],
        metrics: Mapping[str, Mapping[str, PairMetric]],
        *,
        token_budget: int,
    ) -> None:
        super().__init__()
        self.classifier, self.explanations = classifier, explanations
        self.metrics = torch.nn.ModuleDict(
            {removal: torch.nn.ModuleDict(named) for removal, named in metrics.items()}
        )
        self.token_budget = token_budget
        self.pair_scores: list[PairScore] = []
        self.evaluations = 0

    def predict_step(self, batch: PairBatch, batch_idx: int) -> None:
        scores = torch.zeros(batch.word_valid.shape, dtype=torch.float64, device=batch.device)
        for row, name in enumerate(batch.ids):
            found = self.explanations[name].scores
            scores[row, : len(found)] = torch.tensor(found, dtype=torch.float64)
        for removal, metrics in self.metrics.items():
            self._score(batch, scores, removal, dict(metrics.items()))  # type: ignore[operator]

    def _score(
        self, batch: PairBatch, scores: Tensor, removal: str, metrics: dict[str, PairMetric]
    ) -> None:
        masked = MaskedModel(self.classifier, batch, removal, token_budget=self.token_budget)

        def ask(keep: Tensor) -> Tensor:
            return masked.logits(keep).softmax(-1)

        def keys() -> list[str]:
            precision = str(self.trainer.precision)
            return pair_keys(batch, self.fingerprint, removal, precision)

        evaluate(metrics, ask, scores, batch.word_valid, masked.probabilities, keys)
        self.evaluations += int(masked.evaluations.sum())
        for name, metric in metrics.items():
            rows = metric.latest_rows().tolist()
            self.pair_scores += [
                PairScore(id, removal, name, tuple(row))
                for id, row in zip(batch.ids, rows, strict=True)
            ]

    @cached_property
    def fingerprint(self) -> str:
        """The model's, computed for the metrics that ask for it."""
        return weights_fingerprint(self.classifier)


def _explanation(
    batch: PairBatch,
    masked: MaskedModel,
    attributions: Attributions,
    scores: Tensor,
    row: int,
    seconds: float,
) -> Explanation:
    n = len(batch.words1[row]) + len(batch.words2[row])
    label = int(batch.labels[row])
    interactions = attributions.interactions
    return Explanation(
        id=batch.ids[row],
        words1=batch.words1[row],
        words2=batch.words2[row],
        label=None if label < 0 else label,
        prediction=int(masked.prediction[row]),
        probabilities=tuple(masked.probabilities[row].double().tolist()),
        scores=tuple(scores[row, :n].tolist()),
        groups=attributions.groups[row],
        evaluations=int(masked.evaluations[row]),
        gradients=int(masked.gradients[row]),
        seconds=seconds,
        interactions=None if interactions is None else interactions[row],
    )
