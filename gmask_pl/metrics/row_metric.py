"""What every metric is: numbers of each pair, averaged over pairs, with a bootstrap interval.

And what one is that asks the model nothing; see `pair_metric` for the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from gmask_pl.metrics.bootstrap import Estimate, Statistic, estimate, numbers
from gmask_pl.metrics.presentation import Presentation
from gmask_pl.settings import Count, Seed, checked
from gmask_pl.types import JSON, Explanation, PairExample, UserError

Row = tuple[float, ...]


class RowMetric:
    """A statistic of rows of numbers, one of each pair, averaged over pairs.

    It holds settings and no state: whoever has the rows asks for the result. resamples, seed: of
    the 95 % bootstrap interval over pairs (the paper gives none); the same rows give the same one.
    """

    presentation: ClassVar[Presentation] = Presentation()

    @checked
    def __init__(self, *, resamples: Count = 2000, seed: Seed = 0) -> None:
        self.resamples = resamples
        self.seed = seed

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        """The number (...) that stands for the metric, of rows averaged over pairs (..., R).

        A row of one number stands for itself; a metric of wider rows says what they come to.
        """
        if averages.shape[-1] != 1:
            raise NotImplementedError("a metric with several numbers in a row defines summary")
        return averages[..., 0]

    @staticmethod
    def curves(averages: Tensor) -> Sequence[Tensor]:
        """The curves (..., points) of ``presentation.plot``, in its order, of averaged rows."""
        return ()

    def result(self, rows: Tensor) -> JSON:
        """value, low, high, n, and the curves under their keys, of rows (n, R), as JSON holds it.

        Raises UserError where there is no row.
        """
        found = self.estimate(
            rows, lambda means: torch.cat([self.summary(means)[..., None], *self.curves(means)], -1)
        )
        result: JSON = dict(found.headline())
        plot = self.presentation.plot
        start = 1
        for curve, y in zip(plot.curves if plot else (), self.curves(found.averages), strict=True):
            end = start + len(y)
            parts = ((curve.key, found.value), (curve.low, found.low), (curve.high, found.high))
            result |= {key: numbers(part[start:end]) for key, part in parts if key}
            start = end
        return result

    def estimate(self, rows: Tensor, statistic: Statistic = lambda means: means) -> Estimate:
        """The statistic of the averages of rows (n, R), or these; UserError when there is none."""
        if not len(rows):
            raise UserError(
                f"{type(self).__name__}: no example was scored; "
                "give a test split and a limit that leave at least one pair"
            )
        return estimate(rows, statistic, resamples=self.resamples, seed=self.seed)


class ModelFreeMetric(RowMetric, ABC):
    """A metric of explanations against what is known of their pairs, such as highlights.

    ``rows`` holds the numbers of each pair that counts, by its id. ``left_out`` counts the pairs
    that do not because their scores are of word pieces (unit=token), where what is known is of
    words.
    """

    def __init__(self, **bootstrap: Any) -> None:
        super().__init__(**bootstrap)
        self.rows: dict[str, Row] = {}
        self.left_out = 0

    @abstractmethod
    def knows(self, example: PairExample) -> bool:
        """Whether anything is known of the pair's words."""

    @abstractmethod
    def add(self, explanation: Explanation, example: PairExample) -> None:
        """Take one pair of which something is known."""

    def update(self, explanation: Explanation, example: PairExample) -> None:
        """Take one pair, if anything is known of it."""
        if not self.knows(example):
            return
        if (explanation.words1, explanation.words2) == (example.words1, example.words2):
            self.add(explanation, example)
        else:
            self.left_out += 1

    def compute(self, labels: Sequence[str]) -> JSON | None:
        """The result of all pairs as JSON can hold it; None where no pair counts."""
        if not self.rows:
            return None
        return self.result(torch.tensor(list(self.rows.values()), dtype=torch.float64))
