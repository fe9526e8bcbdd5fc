"""What groups explain of a model's answers as units, beside as many words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gmask_pl import ExplanationMetric, GroupFit, UserError

AGAIN = {"resamples": 200, "seed": 0}


def fit_of(model: Callable[[Tensor], Tensor], groups: list[int], **settings: Any) -> Any:
    """`GroupFit` of one pair; model: keep-masks (..., W) to p."""

    def ask(keep: Tensor) -> Tensor:
        p = model(keep).double()
        return torch.stack([p, 1 - p], -1)

    valid = torch.ones(1, len(groups), dtype=torch.bool)
    metric = ExplanationMetric(GroupFit(**AGAIN, **settings))
    metric.update(ask, torch.rand(valid.shape), valid, ask(valid), torch.tensor([groups]))
    return metric.compute()


def both(keep: Tensor) -> Tensor:
    return 0.2 + 0.6 * (keep[..., 0] & keep[..., 3])


def either(keep: Tensor) -> Tensor:
    return 0.2 + 0.6 * (keep[..., 0] | keep[..., 3])


def sums(keep: Tensor) -> Tensor:
    return 0.1 + keep.double() @ torch.tensor([0.4, 0.0, 0.2, 0.1, 0.1], dtype=torch.float64)


def test_groups_fit_where_their_words_are_one_unit() -> None:
    for model in (both, either):
        right = fit_of(model, [0, 1, 1, 0, -1])
        assert right["groups"] == pytest.approx(1, abs=1e-6)
        assert right["words"] < 0.95
        assert right["value"] == pytest.approx(right["groups"] - right["words"])
        wrong = fit_of(model, [0, 0, 1, 1, -1])
        assert wrong["groups"] < 0.8
    single = fit_of(sums, [0, 3, 1, 2, 4])
    assert (single["groups"], single["words"]) == pytest.approx((1, 1), abs=1e-6)
    assert fit_of(sums, [0, 0, 1, 1, 2])["value"] < 0


def test_group_fit_is_that_of_a_regression_by_hand() -> None:
    """Of the masks that it asks about, for three models and a pair with words of no group."""
    groups, samples = [0, 0, -1, 1, 2], 20
    place = torch.tensor([0, 1, 3, 4])
    for model in (both, either, sums):
        asked: list[Tensor] = []

        def remember(keep: Tensor, model: Any = model, asked: Any = asked) -> Tensor:
            asked.append(keep[0])
            return model(keep)

        found = fit_of(remember, groups, samples=samples)
        keep = next(one for one in asked if len(one) > 2 * samples)[: 2 * samples]
        alone, within = keep[:samples], keep[samples:]
        assert not alone[:, 2].any()
        assert within[:, 2].all()
        assert torch.equal(alone[:, place], within[:, place])

        value = [model(alone).double().numpy(), model(within).double().numpy()]
        words = alone[:, place].double().numpy()
        pair = words[:, :2]
        fold = np.arange(samples) % 2 == 0
        r2 = {}
        for name in ("groups", "words"):
            error = total = 0.0
            for train in (fold, ~fold):

                def r2_alone(x: Any, train: Any = train, value: Any = value) -> float:
                    parts = (np.cov(x[train], v[train], bias=True) for v in value)
                    return sum(c[0, 1] ** 2 / c[0, 0] for c in parts)

                first = max((pair.min(1), pair.max(1)), key=r2_alone)
                chosen = sorted(words.T, key=r2_alone, reverse=True)[:3]
                columns = [first, words[:, 2], words[:, 3]] if name == "groups" else chosen
                design = np.column_stack([np.ones(samples), *columns])
                for v in value:
                    weights = np.linalg.lstsq(design[train], v[train], rcond=None)[0]
                    error += np.sum((v[~train] - design[~train] @ weights) ** 2)
                    total += np.sum((v[~train] - v[~train].mean()) ** 2)
            r2[name] = 1 - error / total
        assert found["groups"] == pytest.approx(r2["groups"], abs=1e-4)
        assert found["words"] == pytest.approx(r2["words"], abs=1e-4)


def test_a_pair_whose_answers_do_not_change_has_no_fit() -> None:
    found = fit_of(lambda keep: torch.full(keep.shape[:-1], 0.5), [0, 0, 1, 1, -1])
    assert found["n"] == 0
    assert found["groups"] is None
    assert fit_of(both, [-1] * 5)["n"] == 0
    with pytest.raises(UserError, match=r"set GroupFit\.max_words=5 or more"):
        fit_of(both, [0, 1, 2, 3, 4], max_words=4)
