"""What every metric against words known to matter is: it asks the model nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from gmask_pl.settings import Count, Seed, checked
from gmask_pl.types import JSON, Explanation, PairExample

Row = tuple[float, ...]


class KnownWords(ABC):
    """A metric of explanations against what is known of their pairs, such as highlights.

    ``rows`` holds the numbers of each pair that counts, by its id. ``left_out`` counts the pairs
    that do not because their scores are of word pieces (unit=token), where what is known is of
    words. resamples, seed: of the bootstrap over pairs. ``meaning``: one line for the page.
    """

    meaning: str = ""
    higher_is_better: bool | None = True

    @checked
    def __init__(self, *, resamples: Count, seed: Seed) -> None:
        self.resamples = resamples
        self.seed = seed
        self.rows: dict[str, Row] = {}
        self.left_out = 0

    @abstractmethod
    def knows(self, example: PairExample) -> bool:
        """Whether anything is known of the pair's words."""

    @abstractmethod
    def add(self, explanation: Explanation, example: PairExample) -> None:
        """Take one pair of which something is known."""

    @abstractmethod
    def compute(self, labels: Sequence[str]) -> JSON | None:
        """The result as JSON can hold it: value, low, high, n, ...; None to leave it out."""

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        """The number (...) that stands for the metric, of rows averaged over pairs (..., R)."""
        if averages.shape[-1] != 1:
            raise NotImplementedError("a metric with several numbers in a row defines summary")
        return averages[..., 0]

    def update(self, explanation: Explanation, example: PairExample) -> None:
        """Take one pair, if anything is known of it."""
        if not self.knows(example):
            return
        if (explanation.words1, explanation.words2) == (example.words1, example.words2):
            self.add(explanation, example)
        else:
            self.left_out += 1
