"""The base of metrics: numbers of each pair, averaged over pairs, with a bootstrap interval.

A `PairMetric` asks the model about masks, and makes a row of numbers from the answers. A
`ModelFreeMetric` compares an explanation with what is known of the pair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import Tensor

from gmask_pl.explanation import Explanation
from gmask_pl.metrics.bootstrap import Estimate, Statistic, estimate, numbers
from gmask_pl.metrics.floor import EMPTY, empty_rows
from gmask_pl.metrics.presentation import Presentation
from gmask_pl.question import Answers, predicted_answers
from gmask_pl.settings import Count, Seed, checked
from gmask_pl.types import JSON, PairExample, UserError

Row = tuple[float, ...]
Ask = Callable[[Tensor], Answers]
AskProbabilities = Callable[[Tensor], Tensor]
Keys = Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True)
class RankedPairs:
    """A batch of pairs as a metric sees it.

    valid (B, W) bool: which words exist. order (B, W) int64: word positions from the most to the
    least important, the n_words[b] words of the pair first; what follows them does not exist and
    is never kept. n_words (B,) int64.
    whole (B,): the question's number for the whole pair, in the paper p(y|x) of the predicted class
    y. ask: keep-masks (B, S, W) bool to Answers, for what a metric must learn beside the answers to
    its ``masks``. groups (B, W) int64: the group of every word, 0 for the most important group, and
    -1 for a word without a group; None: no groups are given. candidates (B, W) bool: the words
    that the explainer could have grouped; None: those in groups. side (B, W) int64: 0 for a word of
    the first text, 1 for one of the second; None: not given.
    keys: a name for everything that the answers about each pair depend on, for metrics that keep
    what they learn.
    """

    valid: Tensor
    order: Tensor
    n_words: Tensor
    whole: Tensor
    ask: Ask
    groups: Tensor | None = None
    keys: Keys | None = None
    candidates: Tensor | None = None
    side: Tensor | None = None


class RowMetric:
    """A statistic of rows of numbers, one of each pair, averaged over pairs.

    It holds settings and no state: the caller keeps the rows and asks for the result. resamples,
    seed: of the 95 % bootstrap interval over pairs (the paper gives none); the same rows give the
    same one.
    """

    presentation: ClassVar[Presentation] = Presentation()

    @checked
    def __init__(self, *, resamples: Count = 2000, seed: Seed = 0) -> None:
        self.resamples = resamples
        self.seed = seed

    @staticmethod
    def summary(averages: Tensor) -> Tensor:
        """The number (...) that stands for the metric, of rows averaged over pairs (..., R).

        A row of one number is its own summary; a metric with wider rows defines one.
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


class PairMetric(RowMetric, ABC):
    """A metric that asks the model about masked copies of a pair.

    - resamples, seed: of the 95 % bootstrap interval over pairs.

    A subclass defines `masks`, what to ask, and `score`, which makes a row from the answers. If a
    row has several numbers, it defines `summary`, too. Words are ranked over both sides together,
    so a mask may leave one side empty. The model is then asked about the pair with that side empty.

    >>> import torch
    >>> from gmask_pl import ExplanationMetric, PairMetric
    >>> from gmask_pl.metrics.removal_curves import without_top
    >>> class FirstLoss(PairMetric):  # what the top word is missed by
    ...     def masks(self, pairs):
    ...         return without_top(pairs.order, pairs.n_words, 1)
    ...     def score(self, pairs, answers):
    ...         return pairs.whole[:, None] - answers.value
    >>> def ask(keep):  # the first word decides
    ...     p = torch.where(keep[..., 0], 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, metric = torch.ones(1, 3, dtype=torch.bool), ExplanationMetric(FirstLoss())
    >>> metric.update(ask, torch.tensor([[3.0, 1.0, 2.0]]), valid, ask(valid))
    >>> round(metric.compute()["value"], 3)
    0.8
    """

    @abstractmethod
    def masks(self, pairs: RankedPairs) -> Tensor:
        """The keep-masks (B, S, W) bool that the model is to be asked about."""

    @abstractmethod
    def score(self, pairs: RankedPairs, answers: Answers) -> Tensor:
        """A row (B, R) for each pair, of the answers (B, S) to its ``masks``."""

    def beside(self, rows: Tensor, empty: Tensor) -> JSON:
        """What the empty pair says about the result, to which it is added. By default nothing.

        - rows (n, R): of `score`.
        - empty (n, 3): `metrics.floor.empty_rows` of the same pairs.

        Keys that tables and pages know: ``empty``, the name of the number that the empty pair
        gives; ``meaningful``, false if the metric says nothing, and then ``why``.

        >>> import torch
        >>> from gmask_pl import Comprehensiveness
        >>> rows, empty = torch.full((2, 5), 0.4), torch.tensor([[0.9, 0.4, 1.0], [0.9, 0.4, 1.0]])
        >>> told = Comprehensiveness().beside(rows, empty)
        >>> told["empty"], round(told["all_at_once"], 3), told["meaningful"]
        ('all_at_once', 0.5, True)
        """
        return {}

    def compute(self, rows: Tensor, empty: Tensor) -> JSON:
        """The whole result of all pairs.

        - rows (n, R): of `score`.
        - empty (n, 3): `metrics.floor.empty_rows` of the same pairs.

        Raises UserError where there is no row.

        >>> import torch
        >>> from gmask_pl import AOPC
        >>> rows, empty = torch.tensor([[0.25], [0.75]]), torch.tensor([[0.9, 0.1, 0.0]] * 2)
        >>> found = AOPC().compute(rows, empty)
        >>> found["value"], found["n"]
        (0.5, 2)
        """
        return self.result(rows) | self.beside(rows, empty)


class ModelFreeMetric(RowMetric, ABC):
    """A metric that compares explanations with what is known of their pairs, such as highlights.

    - bootstrap: ``resamples`` and ``seed`` of the 95 % interval over pairs.

    A subclass defines `knows`, whether something is known of a pair, and `add`, which makes its
    row. ``rows`` holds the row of each pair that counts, by its id. ``left_out`` counts the pairs
    whose scores are of word pieces or sentences (unit=token, unit=sentence), while what is known is
    of words.

    >>> from gmask_pl import ModelFreeMetric, PairExplainer, Random
    >>> from gmask_pl.types import PairExample
    >>> class Right(ModelFreeMetric):  # whether the prediction is the label
    ...     def knows(self, example):
    ...         return example.label is not None
    ...     def add(self, explanation, example):
    ...         self.rows[explanation.id] = (float(explanation.prediction == example.label),)
    >>> explain = PairExplainer(lambda pairs: [1.0 for _ in pairs], method=Random())
    >>> pair = PairExample("1", "not now", "never", ((0, 3), (4, 7)), ((0, 5),), label=1)
    >>> metric = Right()
    >>> metric.update(explain(pair.text1, pair.text2), pair)
    >>> metric.compute(["no", "yes"])["value"]
    1.0
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


def rank_words(scores: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Words from the most to the least important: order (B, W) int64 and n_words (B,) int64.

    scores (B, W) float; valid (B, W) bool. By descending signed score; of equal scores the
    earlier position goes first. Words that are not valid come last, whatever their score.
    Raises ValueError when a valid word's score is NaN.

    >>> import torch
    >>> from gmask_pl.metrics.pair_metric import rank_words
    >>> rank_words(torch.tensor([[0.1, 0.7, 0.9]]), torch.tensor([[True, True, False]]))
    (tensor([[1, 0, 2]]), tensor([2]))
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
    ask: Ask | AskProbabilities,
    scores: Tensor,
    valid: Tensor,
    whole: Tensor,
    *,
    groups: Tensor | None = None,
    keys: Keys | None = None,
    candidates: Tensor | None = None,
    side: Tensor | None = None,
) -> dict[str, Tensor]:
    """The rows (B, R) of a batch under every metric, asking the model once for all of them.

    - metrics: by name.
    - ask: keep-masks (B, S, W) bool to `Answers`.
    - scores (B, W) and valid (B, W): as in `rank_words`.
    - whole (B,), groups (B, W), keys, candidates, side: those of `RankedPairs`.

    ``whole`` may hold probabilities (B, C) instead, and ``ask`` return such (B, S, C): the question
    is then the class predicted on the whole pair. The name ``EMPTY`` has `metrics.floor.empty_rows`
    (B, 3), since the empty pair is asked about with the others. Raises ValueError on answers of
    another shape, or that are no finite numbers.

    >>> import torch
    >>> from gmask_pl import AOPC
    >>> from gmask_pl.metrics.pair_metric import evaluate
    >>> def ask(keep):  # the first word decides
    ...     p = torch.where(keep[..., 0], 0.9, 0.1)
    ...     return torch.stack([p, 1 - p], -1)
    >>> valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 1.0, 2.0]])
    >>> rows = evaluate({"aopc": AOPC(max_removed=1)}, ask, scores, valid, ask(valid))
    >>> rows["aopc"], rows["empty"]
    (tensor([[0.4000]]), tensor([[0.9000, 0.1000, 0.0000]]))
    """

    give: Any = ask
    if whole.dim() == 2:
        give, whole = _of_probabilities(ask, whole)

    def answered(keep: Tensor) -> Answers:
        found: Answers = give(keep)
        if (shape := tuple(found.value.shape)) != (expected := tuple(keep.shape[:2])):
            raise ValueError(f"answers {shape}, expected {expected}")
        return Answers(_finite(found.value), found.same)

    whole = _finite(whole)
    ranked = rank_words(scores, valid)
    pairs = RankedPairs(valid, *ranked, whole, answered, groups, keys, candidates, side)
    masks = [metric.masks(pairs) for metric in metrics.values()]
    masks.append(torch.zeros_like(valid)[:, None])
    answers = answered(torch.cat(masks, 1))
    ends = list(accumulate(part.shape[1] for part in masks))
    rows = {
        name: metric.score(pairs, answers[end - part.shape[1] : end])
        for (name, metric), part, end in zip(metrics.items(), masks, ends, strict=False)
    }
    return rows | {EMPTY: empty_rows(answers[-1:], whole)}


def _of_probabilities(ask: Any, whole: Tensor) -> tuple[Ask, Tensor]:
    """The question after the predicted class. Raises ValueError for what is no probability."""

    def checked_shares(found: Tensor) -> Tensor:
        if not ((found >= 0) & (found <= 1 + 1e-3)).all():  # NaN fails too; 1e-3: rounding
            raise ValueError("answers must be probabilities in [0, 1]")
        return found

    def answers(keep: Tensor) -> Answers:
        found = checked_shares(ask(keep))
        if found.shape[2:] != whole.shape[1:]:
            expected = (*keep.shape[:2], whole.shape[1])
            raise ValueError(f"probabilities {tuple(found.shape)}, expected {expected}")
        return predicted_answers(found, whole)

    return answers, checked_shares(whole).amax(1)


def _finite(values: Tensor) -> Tensor:
    """Numbers in the precision that rows are kept in, whatever the model computes in."""
    found = values.detach().float()
    if not found.isfinite().all():
        raise ValueError("answers must be finite numbers")
    return found
