"""A question about a masked pair: its answer is a real number and a decision.

Explainers and metrics ask a model nothing else, so all of them work for any of these questions:

| question | number | decision, the same as of the whole pair or not |
| --- | --- | --- |
| the predicted class y (the paper's) | p(y) | the predicted class |
| a named class | its probability | that class is predicted, or is not |
| a label of a multi-label head | its probability, a sigmoid | the label is on, or is off |
| class A against class B | log p(A) - log p(B), the log-odds | A is ahead of B, or is not |
| a score | the score | at least the threshold, or below it |

The cross-entropy of Eq. 7 needs a number in (0, 1), the *share*. For a probability it is the
probability itself; for log-odds their sigmoid, p(A) / (p(A) + p(B)); for a score a sigmoid that is
scaled to the pair, see `Score`. A share rises with its number, so both rank masked pairs alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from gmask_pl.types import UserError

SOFTMAX, SIGMOID, SCORE = "softmax", "sigmoid", "score"  # what the outputs of a model mean
# What a score decides between, unless a data set has other names for it.
OF_A_SCORE = ("below the threshold", "at least the threshold")
_LEAST = 1e-6  # between two scores, so that nothing is divided by 0


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's answers about masked pairs.

    value (B, S): the question's number. same (B, S) bool: whether the decision is that of the whole
    pair.
    """

    value: Tensor
    same: Tensor

    def __getitem__(self, masks: slice) -> Answers:
        return Answers(self.value[:, masks], self.same[:, masks])


class Question(ABC):
    """A number and a decision, read from the outputs (..., M) of a model.

    Both may depend on the pair: on its ``aim`` (...), found from the outputs of the whole pair,
    and, if ``scaled``, on its ``ends`` (..., 2), the numbers of the empty and of the whole pair.
    name: what people call the number.
    """

    name: str
    scaled: bool = False

    def aim(self, whole: Tensor) -> Tensor:
        """The output (B,) int64 that is asked about, given the whole pair's (B, M)."""
        return torch.zeros(len(whole), dtype=torch.int64, device=whole.device)

    @abstractmethod
    def value(self, outputs: Tensor, aim: Tensor) -> Tensor:
        """The number (...)."""

    @abstractmethod
    def log_share(self, outputs: Tensor, aim: Tensor, ends: Tensor | None) -> Tensor:
        """The logarithm of the share (...)."""

    @abstractmethod
    def decision(self, outputs: Tensor, aim: Tensor) -> Tensor:
        """The decision (...) int64."""

    def options(self, outputs: int) -> int:
        """How many numbers the ``distribution`` of so many outputs has."""
        return 2

    def distribution(self, outputs: Tensor, aim: Tensor, ends: Tensor | None) -> Tensor:
        """The target for a model that learns the answers: probabilities (..., D) that sum to 1."""
        share = self.log_share(outputs, aim, ends).exp()
        return torch.stack([1 - share, share], -1)


@dataclass(frozen=True, slots=True)
class ClassProbability(Question):
    """The probability of a class or label.

    target: its index; None: the one that is most probable for the whole pair.
    meaning: ``softmax`` over classes that exclude one another, or ``sigmoid`` of each label.

    >>> import torch
    >>> from gmask_pl.question import ClassProbability
    >>> outputs = torch.tensor([[0.0, 0.0, 1.0986]])  # of one pair: log 3 is 1.0986
    >>> predicted = ClassProbability()
    >>> aim = predicted.aim(outputs)
    >>> round(predicted.value(outputs, aim).item(), 3), predicted.decision(outputs, aim).item()
    (0.6, 2)
    """

    target: int | None = None
    meaning: str = SOFTMAX
    name: str = "probability of the predicted class"

    def aim(self, whole: Tensor) -> Tensor:
        return whole.argmax(-1) if self.target is None else Question.aim(self, whole) + self.target

    def value(self, outputs: Tensor, aim: Tensor) -> Tensor:
        return self.log_share(outputs, aim, None).exp()

    def log_share(self, outputs: Tensor, aim: Tensor, ends: Tensor | None) -> Tensor:
        logs = outputs.log_softmax(-1) if self.meaning == SOFTMAX else logsigmoid(outputs)
        return _chosen(logs, aim)

    def decision(self, outputs: Tensor, aim: Tensor) -> Tensor:
        if self.meaning == SIGMOID:
            return (_chosen(outputs, aim) >= 0).long()
        predicted = outputs.argmax(-1)
        return predicted if self.target is None else (predicted == self.target).long()

    @property
    def _of_all(self) -> bool:
        return self.target is None and self.meaning == SOFTMAX

    def options(self, outputs: int) -> int:
        return outputs if self._of_all else 2

    def distribution(self, outputs: Tensor, aim: Tensor, ends: Tensor | None) -> Tensor:
        if self._of_all:
            return outputs.softmax(-1)
        return Question.distribution(self, outputs, aim, ends)


PREDICTED = ClassProbability()  # the paper's


@dataclass(frozen=True, slots=True)
class LogOdds(Question):
    """log p(target) - log p(against): by how much the model prefers one class to another.

    target, against: indices of outputs. For a softmax it is the difference of two logits,
    independent of the other classes. The share is p(target) / (p(target) + p(against)).
    """

    target: int
    against: int
    name: str = "log-odds"

    def value(self, outputs: Tensor, aim: Tensor) -> Tensor:
        return outputs[..., self.target] - outputs[..., self.against]

    def log_share(self, outputs: Tensor, aim: Tensor, ends: Tensor | None) -> Tensor:
        return logsigmoid(self.value(outputs, aim))

    def decision(self, outputs: Tensor, aim: Tensor) -> Tensor:
        return (self.value(outputs, aim) >= 0).long()


@dataclass(frozen=True, slots=True)
class Score(Question):
    """An output as it is, such as that of a regression, a similarity or a re-ranker.

    threshold: the decision is whether the score is at least that.
    reference: the share is scaled between this score and that of the whole pair; None: the score of
    the empty pair. With r the reference and w the score of the whole pair, the share of a score s
    is sigmoid(4 (s - (r + w) / 2) / |w - r|): 0.12 at the lower of the two, 0.88 at the higher.
    """

    threshold: float = 0.0
    reference: float | None = None
    name: str = "score"
    scaled = True

    def value(self, outputs: Tensor, aim: Tensor) -> Tensor:
        return outputs[..., 0]

    def log_share(self, outputs: Tensor, aim: Tensor, ends: Tensor | None) -> Tensor:
        assert ends is not None
        empty, whole = ends.unbind(-1)
        other = empty if self.reference is None else torch.full_like(whole, self.reference)
        width = (whole - other).abs().clamp_min(_LEAST)
        return logsigmoid(4 * (self.value(outputs, aim) - (whole + other) / 2) / width)

    def decision(self, outputs: Tensor, aim: Tensor) -> Tensor:
        return (self.value(outputs, aim) >= self.threshold).long()


def question_about(
    labels: Sequence[str],
    meaning: str,
    *,
    target: str | None = None,
    against: str | None = None,
    threshold: float | None = None,
    reference: float | None = None,
) -> Question:
    """The question that a user's settings ask.

    - labels: the names that the model decides between, in the order of its outputs; meaning:
      ``softmax`` or ``sigmoid``, see `ClassProbability`, or ``score`` of one output.
    - target: a label; None: the predicted class, or the most probable of several labels.
    - against: a label that ``target`` is compared with, in log-odds.
    - threshold, reference: settings of a score, see `Score`; threshold None is 0.

    Raises UserError for a question that the model cannot answer.

    >>> from gmask_pl.question import question_about
    >>> question_about(["no", "yes"], "softmax", target="yes").name
    'p(yes)'
    """
    for key, label in (("target", target), ("against", against)):
        if label is not None and meaning == SCORE:
            raise UserError(f"{key}={label}: the model has one score, and no classes to choose")
        if label is not None and label not in labels:
            raise UserError(f"{key}={label}: the model's labels are {', '.join(labels)}")
    if against is not None and (target is None or target == against):
        wanted = "needs target=LABEL" if target is None else "is the target itself"
        raise UserError(f"against={against}: it {wanted}: give two labels to be compared")
    if meaning != SCORE:
        given = {"threshold": threshold, "reference": reference}
        for key, value in given.items():
            if value is not None:
                raise UserError(
                    f"{key}={value}: it is of a score, and this model has probabilities"
                )
    if meaning == SCORE:
        return Score(0.0 if threshold is None else float(threshold), reference)
    if against is not None and target is not None:
        pair = labels.index(target), labels.index(against)
        return LogOdds(*pair, name=f"log-odds of {target} against {against}")
    if target is None:
        what = "predicted class" if meaning == SOFTMAX else "most probable label"
        return ClassProbability(None, meaning, name=f"probability of the {what}")
    return ClassProbability(labels.index(target), meaning, name=f"p({target})")


def predicted_answers(probabilities: Tensor, whole: Tensor) -> Answers:
    """The answers of probabilities (B, S, C) about the class predicted on the whole pair (B, C).

    If classes are equally probable, the first counts as predicted.

    >>> import torch
    >>> from gmask_pl.question import predicted_answers
    >>> whole, masked = torch.tensor([[0.7, 0.3]]), torch.tensor([[[0.8, 0.2], [0.4, 0.6]]])
    >>> found = predicted_answers(masked, whole)
    >>> found.value, found.same
    (tensor([[0.8000, 0.4000]]), tensor([[ True, False]]))
    """
    predicted = whole.argmax(-1)[:, None].expand(probabilities.shape[:2])
    return Answers(_chosen(probabilities, predicted), probabilities.argmax(-1) == predicted)


def _chosen(outputs: Tensor, index: Tensor) -> Tensor:
    """The outputs (...) at an index (...) of the last axis of (..., M)."""
    return outputs.gather(-1, index[..., None])[..., 0]
