"""The answers about the empty pair, without any word, and what they say about a metric.

They depend on the model, the pairs and the removal, and not on an explanation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gmask_pl.metrics.bootstrap import Estimate, numbers
from gmask_pl.question import Answers

EMPTY = "empty"  # the name of the rows that `empty_rows` makes
NEEDED = 0.1  # the share of pairs that must be able to say something, for a metric to do


def empty_rows(empty: Answers, whole: Tensor) -> Tensor:
    """p(y|x), p(y|x_o), and whether the decision about the empty pair x_o is the same: (B, 3).

    empty: the answers about it (B, 1); whole (B,): p(y|x), or the question's number.

    >>> import torch
    >>> from gmask_pl.metrics.floor import empty_rows
    >>> from gmask_pl.question import Answers
    >>> empty_rows(Answers(torch.tensor([[0.2]]), torch.tensor([[True]])), torch.tensor([0.9]))
    tensor([[0.9000, 0.2000, 1.0000]])
    """
    return torch.cat([whole[:, None], empty.value, empty.same.to(whole)], 1)


def lost(means: Tensor) -> Tensor:
    """p(y|x) - p(y|x_o), (..., 1), of averaged `empty_rows` (..., 3).

    >>> import torch
    >>> from gmask_pl.metrics.floor import lost
    >>> lost(torch.tensor([0.9, 0.2, 1.0]))
    tensor([0.7000])
    """
    return means[..., :1] - means[..., 1:2]


def told(name: str, found: Estimate) -> dict[str, float | None]:
    """An estimate with its interval, as JSON can hold it: name, _low, _high.

    >>> import torch
    >>> from gmask_pl.metrics.bootstrap import estimate
    >>> from gmask_pl.metrics.floor import told
    >>> found = estimate(torch.full((4, 1), 0.25), lambda means: means, resamples=9, seed=0)
    >>> told("floor", found)
    {'floor': 0.25, 'floor_low': 0.25, 'floor_high': 0.25}
    """
    ends = zip(("", "_low", "_high"), (found.value, found.low, found.high), strict=True)
    return {f"{name}{end}": numbers(part)[0] for end, part in ends}


def verdict(meaningful: bool, why: str) -> dict[str, Any]:
    """``meaningful``, and ``why`` where it is not.

    >>> from gmask_pl.metrics.floor import verdict
    >>> verdict(True, ""), verdict(False, "no word is needed")
    ({'meaningful': True}, {'meaningful': False, 'why': 'no word is needed'})
    """
    return {"meaningful": True} if meaningful else {"meaningful": False, "why": why}


def shown(part: dict[str, float | None], name: str) -> str:
    """A part of a result in words, with its interval if it has one.

    >>> from gmask_pl.metrics.floor import shown
    >>> shown({"loss": 0.068, "loss_low": -0.012, "loss_high": 0.141}, "loss")
    '0.068 [-0.012, 0.141]'
    """
    value, low, high = (part[f"{name}{end}"] for end in ("", "_low", "_high"))
    ends = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"{'undefined' if value is None else f'{value:.3f}'}{ends}"


def loss_without_words(name: str, found: Estimate) -> dict[str, Any]:
    """The loss of probability without any word as ``name``, and what it says of a metric of losses.

    Such a metric is not meaningful unless the interval of the loss lies above 0. Otherwise the
    model may be as sure without any word as with all. A loss without some words then says that the
    rest of the text is odd, not that evidence is missing.

    >>> import torch
    >>> from gmask_pl.metrics.bootstrap import estimate
    >>> from gmask_pl.metrics.floor import loss_without_words
    >>> losses = torch.tensor([[-0.25], [0.25], [-0.25], [0.25]])
    >>> found = estimate(losses, lambda means: means, resamples=99, seed=0)
    >>> loss_without_words("all_at_once", found)["meaningful"]
    False
    """
    part = told(name, found)
    low = part[f"{name}_low"]
    why = (
        "without any word the prediction is no less sure, or may not be: removing all at once "
        f"costs {shown(part, name)}"
    )
    return {EMPTY: name} | part | verdict(low is not None and low > 0, why)
