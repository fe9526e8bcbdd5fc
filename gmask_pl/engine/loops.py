"""The loops over a test set, as LightningModules for `Trainer.predict`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from gmask_pl.engine.fingerprint import pair_keys, weights_fingerprint
from gmask_pl.explainers.base import Explainer
from gmask_pl.masking import MaskedModel
from gmask_pl.metrics.base import PairMetric, evaluate
from gmask_pl.metrics.membership import hard_groups
from gmask_pl.models.base import PairClassifier
from gmask_pl.packing import TokenBudget
from gmask_pl.types import Attributions, Explanation, PairBatch, PairScore

EVALUATIONS = "evaluations"


class ExplainLoop(LightningModule):
    """Explains every batch and hands its explanations to ``keep``, with the batch's number.

    batches: the numbers of the batches that the loader will give, in their order.
    """

    def __init__(
        self,
        classifier: PairClassifier,
        explainer: Explainer,
        batches: Sequence[int],
        keep: Callable[[int, list[Explanation]], None],
        *,
        token_budget: TokenBudget | int,
    ) -> None:
        super().__init__()
        # There may be fewer batches than processes.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.classifier, self.explainer = classifier, explainer
        self.batches, self.keep = batches, keep
        self.token_budget = token_budget

    def predict_step(self, batch: PairBatch, batch_idx: int) -> None:
        start = time.perf_counter()
        masked = MaskedModel(
            self.classifier, batch, self.explainer.removal, token_budget=self.token_budget
        )
        attributions = self.explainer(masked)
        scores = attributions.scores.double().cpu()
        seconds = (time.perf_counter() - start) / len(batch)
        found = [
            _explanation(batch, masked, attributions, scores, row, seconds)
            for row in range(len(batch))
        ]
        self.keep(self.batches[batch_idx], found)


class ScoreLoop(LightningModule):
    """Asks the model about the masks of all metrics, for explanations found before.

    batches: the numbers of the batches that the loader will give, in their order. explained:
    the explanations of a batch; keep: takes the numbers that the metrics have of its pairs.
    metrics: by the removal that they are asked under, then by name.

    Beside those of the metrics, a row named ``EVALUATIONS`` holds how many masked inputs of the
    pair the model answered, which metrics of one removal share.
    """

    def __init__(
        self,
        classifier: PairClassifier,
        metrics: Mapping[str, Mapping[str, PairMetric]],
        batches: Sequence[int],
        explained: Callable[[int], Iterable[Explanation]],
        keep: Callable[[int, list[PairScore]], None],
        *,
        token_budget: TokenBudget | int,
    ) -> None:
        super().__init__()
        # There may be fewer batches than processes.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.classifier = classifier
        self.metrics = torch.nn.ModuleDict(
            {removal: torch.nn.ModuleDict(named) for removal, named in metrics.items()}
        )
        self.batches, self.explained, self.keep = batches, explained, keep
        self.token_budget = token_budget

    def predict_step(self, batch: PairBatch, batch_idx: int) -> None:
        number = self.batches[batch_idx]
        found = {explanation.id: explanation for explanation in self.explained(number)}
        scores = torch.zeros(batch.word_valid.shape, dtype=torch.float64, device=batch.device)
        groups = torch.full_like(scores, -1, dtype=torch.int64)
        for row, name in enumerate(batch.ids):
            own = found[name]
            scores[row, : len(own.scores)] = torch.tensor(own.scores, dtype=torch.float64)
            for group, words in enumerate(hard_groups(own.groups) if own.groups else ()):
                groups[row, list(words)] = group
        rows: list[PairScore] = []
        for removal, metrics in self.metrics.items():
            named: dict[str, PairMetric] = dict(metrics.items())  # type: ignore[operator]
            for metric in named.values():
                metric.groups = groups if metric.reads_groups else None
            rows += self._score(batch, scores, removal, named)
        self.keep(number, rows)

    def _score(
        self, batch: PairBatch, scores: Tensor, removal: str, metrics: dict[str, PairMetric]
    ) -> list[PairScore]:
        masked = MaskedModel(self.classifier, batch, removal, token_budget=self.token_budget)

        def ask(keep: Tensor) -> Tensor:
            return masked.logits(keep).softmax(-1)

        def keys() -> list[str]:
            precision = str(self.trainer.precision)
            return pair_keys(batch, self.fingerprint, removal, precision)

        evaluate(metrics, ask, scores, batch.word_valid, masked.probabilities, keys)
        named = {EVALUATIONS: [[float(count)] for count in masked.evaluations.tolist()]}
        for name, metric in metrics.items():
            named[name] = metric.latest_rows().tolist()
            metric.reset()
        return [
            PairScore(id, removal, name, tuple(row))
            for name, rows in named.items()
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
        truncated=bool(batch.truncated[row]),
    )
