"""What a metric that asks the model nothing is: a comparison with what is known of a pair."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch

from gmask_pl.metrics.row_metric import RowMetric
from gmask_pl.types import JSON, Explanation, PairExample

Row = tuple[float, ...]


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
