"""What every metric of a pair's word attributions is: masks to ask about, and rows to average."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from gmask_pl.metrics.bootstrap import Estimate, Statistic, estimate
from gmask_pl.metrics.faithfulness.floor import empty_rows
from gmask_pl.settings import Count, Seed, checked
from gmask_pl.types import UserError

Ask = Callable[[Tensor], Tensor]
Keys = Callable[[], Sequence[str]]


class PairMetric(Metric):
    """A metric that asks the model about masked copies of a pair and averages over pairs.

    Words are ranked over both sides together, so a mask may leave a side without any word, and the
    pair is then asked about with that side empty; a side of a single word is no exception.

    The state is one row of ``width`` numbers per example, so averages and bootstrap intervals
    are right across batches and processes, those without any example included. Rows are held
    flat because an empty process has no other shape to contribute to a gather.

    n_masks: how many masks S the metric asks about per example; width: numbers in a row;
    resamples, seed: of the bootstrap. ``meaning``: one line for the page of a run, ``parts``:
    others for the numbers that stand below the value, by their names in the result.
    ``higher_is_better``: None where neither is.
    """

    full_state_update: bool = False
    is_differentiable: bool = False
    higher_is_better: bool | None = True
    meaning: str = ""
    parts: Mapping[str, str] = MappingProxyType({})
    # Of a metric that reads groups: the group (B, W) int64 of every word of the batch, the most
    # important group being 0, and -1 for a word of none. Set before the batch is evaluated.
    reads_groups: bool = False
    groups: Tensor | None = None

    rows: list[Tensor] | Tensor

    @checked
    def __init__(self, *, n_masks: Count, width: Count, resamples: Count, seed: Seed) -> None:
        super().__init__()
        self.n_masks = n_masks
        self.width = width
        self.resamples = resamples
        self.seed = seed
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def masks(self, order: Tensor, n_words: Tensor) -> Tensor:
        """The keep-masks (B, S, W) bool that the model is to be asked about.

        order (B, W) int64: word positions from the most to the least important, the n_words[b]
        words of the pair first; what follows them does not exist and is never kept.
        n_words (B,) int64.
        """

    def explore(self, ask: Ask, valid: Tensor, whole: Tensor, keys: Keys | None) -> None:
        """What a metric must learn of a batch beside the answers to its ``masks``: mostly nothing.

        Called before ``update``, with the arguments of ``evaluate``.
        """

    @abstractmethod
    def score(self, probabilities: Tensor, whole: Tensor, n_words: Tensor) -> Tensor:
        """One row (B, width) per example, from the arguments of ``update``."""

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        """The number (...) that stands for the metric, of rows averaged over examples (..., R).

        A row of one number stands for itself; a metric of wider rows says what they come to.
        """
        if averages.shape[-1] != 1:
            raise NotImplementedError("a metric with several numbers in a row defines summary")
        return averages[..., 0]

    @abstractmethod
    def compute(self) -> dict[str, Any]:
        """The result as JSON can hold it: value, low, high (95 % bootstrap interval), n, ..."""

    def beside(self, empty: Tensor) -> dict[str, Any]:
        """What the empty pair says of the result: it is added to it. Mostly nothing.

        empty (n, 3): `metrics.floor.empty_rows` of the examples taken, in their order. Keys of
        the result that tables and pages know: ``empty``, the name of the number that the empty
        pair gives; ``meaningful``, false where the metric can tell nothing, and then ``why``.
        """
        return {}

    def update(self, probabilities: Tensor, whole: Tensor, n_words: Tensor) -> None:
        """Take the model's answers for a batch.

        probabilities (B, S, C): for the masks of ``masks``, in their order; whole (B, C): for
        the whole pair, whose most probable class (the first of equals) is the predicted one;
        n_words (B,). Raises ValueError on other shapes and on what is not a probability.
        """
        b, c = whole.shape
        if probabilities.shape != (b, self.n_masks, c) or n_words.shape != (b,):
            raise ValueError(
                f"{type(self).__name__}: probabilities {tuple(probabilities.shape)} and n_words "
                f"{tuple(n_words.shape)}, expected {(b, self.n_masks, c)} and {(b,)}"
            )
        probabilities, whole = self._checked(probabilities), self._checked(whole)
        self._add(self.score(probabilities, whole, n_words.to(self.device)))

    def latest_rows(self) -> Tensor:
        """The rows (B, width) of the examples of the last update, in their order."""
        return self.rows[-1].reshape(-1, self.width)

    def take(self, rows: Tensor) -> None:
        """Take rows (B, width) of examples that were scored before, as `latest_rows` gave them."""
        self._add(rows)
        # What torchmetrics does around update.
        self._computed, self._update_count = None, self._update_count + 1

    def _add(self, rows: Tensor) -> None:
        assert isinstance(self.rows, list)  # a gathered state is a tensor, but not before compute
        self.rows.append(rows.to(self.device, self.dtype).flatten())

    def estimate(self, statistic: Statistic, beside: Tensor | None = None) -> Estimate:
        """The statistic of the averages over all examples; UserError when there is none.

        beside (n, K): further columns of the examples, which follow those of the rows.
        """
        pieces = self.rows if isinstance(self.rows, list) else [self.rows]
        if not sum(piece.numel() for piece in pieces):
            raise UserError(
                f"{type(self).__name__}: no example was scored; "
                "give a test split and a limit that leave at least one pair"
            )
        rows = torch.cat(pieces).reshape(-1, self.width)
        if beside is not None:
            rows = torch.cat([rows, beside.to(rows)], 1)
        return estimate(rows, statistic, resamples=self.resamples, seed=self.seed)

    def estimate_of(self, empty: Tensor, statistic: Statistic) -> Estimate:
        """The statistic of the averages of ``empty`` (n, 3) alone: the same for every explainer."""
        return estimate(empty, statistic, resamples=self.resamples, seed=self.seed)

    def _checked(self, probabilities: Tensor) -> Tensor:
        found = probabilities.detach().to(self.device, self.dtype)
        if not ((found >= 0) & (found <= 1 + 1e-3)).all():  # NaN fails too; 1e-3: rounding
            raise ValueError(f"{type(self).__name__}: answers must be probabilities in [0, 1]")
        return found


def rank_words(scores: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Words from the most to the least important: order (B, W) int64 and n_words (B,) int64.

    scores (B, W) float; valid (B, W) bool. By descending signed score; of equal scores the
    earlier position goes first. Words that are not valid come last, whatever their score.
    Raises ValueError when a valid word's score is NaN.
    """
    if scores.shape != valid.shape:
        raise ValueError(f"scores {tuple(scores.shape)} but valid {tuple(valid.shape)}")
    nan = scores.isnan() & valid
    if nan.any():
        row, word = nan.nonzero()[0].tolist()
        raise ValueError(f"the score of word {word} in row {row} of the batch is NaN")
    order = scores.masked_fill(~valid, 0).argsort(dim=1, descending=True, stable=True)
    missing = ~valid.gather(1, order)
    order = order.gather(1, missing.long().argsort(dim=1, stable=True))
    return order, valid.sum(dim=1)


def evaluate(
    metrics: Mapping[str, PairMetric],
    ask: Ask,
    scores: Tensor,
    valid: Tensor,
    whole: Tensor,
    keys: Keys | None = None,
) -> Tensor:
    """Update every metric with a batch of attributions, asking the model once for all of them.

    Returns `metrics.floor.empty_rows` (B, 3), as the empty pair is asked about with the others.

    ask: keep-masks (B, S, W) bool to probabilities (B, S, C); scores (B, W) and valid (B, W) as
    in ``rank_words``; whole (B, C): probabilities on the whole pair; keys: a name for everything
    that the answers about each pair depend on, for metrics that keep what they learn.
    """
    order, n_words = rank_words(scores, valid)
    masks = [metric.masks(order, n_words) for metric in metrics.values()]
    masks.append(torch.zeros_like(valid)[:, None])
    *answers, empty = ask(torch.cat(masks, 1)).split([part.shape[1] for part in masks], dim=1)
    for metric, answer in zip(metrics.values(), answers, strict=True):
        metric.explore(ask, valid, whole, keys)
        metric.update(answer, whole, n_words)
    return empty_rows(empty[:, 0], whole)
