"""Makes a torchmetrics metric of any metric that asks a model, for other loops than ours."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from gmask_pl.metrics.floor import EMPTY
from gmask_pl.metrics.pair_metric import Ask, AskProbabilities, Keys, PairMetric, evaluate
from gmask_pl.types import JSON


class ExplanationMetric(Metric):
    """A `PairMetric` with the state, the synchronisation and the reset of torchmetrics.

    The state holds the row of every pair. So the result does not depend on batches or processes,
    even if a process has no pair. It takes ``metric`` and the settings of torchmetrics:
    ``sync_on_compute``, ``process_group``, ...

    >>> import torch
    >>> from gmask_pl import AOPC, ExplanationMetric
    >>> def ask(keep):  # the first word decides: keep-masks (B, S, W) to probabilities (B, S, C)
    ...     p = torch.where(keep[..., 0], 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid = torch.ones(2, 3, dtype=torch.bool)
    >>> metric = ExplanationMetric(AOPC(max_removed=1))
    >>> metric.update(ask, torch.tensor([[3.0, 1, 2], [1, 3, 2]]), valid, ask(valid[:, None])[:, 0])
    >>> round(metric.compute()["value"], 2)
    0.2
    """

    width: Tensor
    full_state_update: bool = False
    is_differentiable: bool = False

    def __init__(self, metric: PairMetric, **torchmetrics: Any) -> None:
        super().__init__(**torchmetrics)
        self.metric = metric
        # Of a name of its own: a MetricCollection takes metrics for one whose states are called
        # alike and are equal after the first batch, as those of two metrics may be by chance.
        settings = f"{type(metric)} {sorted((k, repr(v)) for k, v in vars(metric).items())}"
        self._rows = f"rows_{hashlib.blake2b(settings.encode(), digest_size=8).hexdigest()}"
        # Flat, as a process without any pair has no other shape to contribute to a gather.
        self.add_state(self._rows, default=[], dist_reduce_fx="cat")
        self.add_state("width", default=torch.tensor(0), dist_reduce_fx="max")

    @property
    def higher_is_better(self) -> bool | None:  # type: ignore[override]
        return self.metric.presentation.higher_is_better

    def update(
        self,
        ask: Ask | AskProbabilities,
        scores: Tensor,
        valid: Tensor,
        whole: Tensor,
        groups: Tensor | None = None,
        keys: Keys | None = None,
        candidates: Tensor | None = None,
        side: Tensor | None = None,
    ) -> None:
        """Takes a batch of attributions, asking the model about it: see `pair_metric.evaluate`."""
        given: dict[str, Any] = {"groups": groups, "candidates": candidates, "side": side}
        rows = evaluate({"it": self.metric}, ask, scores, valid, whole, keys=keys, **given)
        table = torch.cat([rows["it"], rows[EMPTY]], 1)
        self.width = self.width.new_tensor(table.shape[1])
        getattr(self, self._rows).append(table.flatten())

    def compute(self) -> JSON:
        """The result of all pairs: value, low, high, n, ... UserError where there is none."""
        found: list[Tensor] | Tensor = getattr(self, self._rows)
        rows = found if isinstance(found, list) else [found]  # one tensor once they are gathered
        table = torch.cat([self.width.new_zeros(0), *rows]).reshape(-1, int(self.width) or 1)
        return self.metric.compute(table[:, :-3], table[:, -3:])
