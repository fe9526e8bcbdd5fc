"""What groups explain of a model's answers on held-out masks, beside as many single words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gmask_pl import ExplanationMetric, GroupFit

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


def test_groups_fit_where_their_words_act_together() -> None:
    for model in (both, either):
        right = fit_of(model, [0, 1, 1, 0, -1])
        assert right["groups"] == pytest.approx(1, abs=1e-6)
        assert right["words"] < 0.8
        assert right["value"] == pytest.approx(right["groups"] - right["words"])
        assert fit_of(model, [0, 0, 1, 1, -1])["groups"] < 0.8
    single = fit_of(sums, [0, 3, 1, 2, 4])
    assert (single["groups"], single["words"]) == pytest.approx((1, 1), abs=1e-6)
    assert single["effects"] == 5


def test_group_fit_is_that_of_a_regression_by_hand() -> None:
    """Of the masks that it asks about, for three models and a pair with words of no group."""
    samples = 14  # of 16
    place = torch.tensor([0, 1, 3, 4])
    for model in (both, either, sums):
        asked: list[Tensor] = []

        def remember(keep: Tensor, model: Any = model, asked: Any = asked) -> Tensor:
            asked.append(keep[0])
            return model(keep)

        found = fit_of(remember, [0, 0, -1, 1, 0], samples=samples)
        keep = next(one for one in asked if len(one) > 2 * samples)[: 2 * samples]
        alone, within = keep[:samples], keep[samples:]
        assert not alone[:, 2].any()
        assert within[:, 2].all()
        assert torch.equal(alone[:, place], within[:, place])
        assert len(alone.unique(dim=0)) == samples
        value = [model(alone).double().numpy(), model(within).double().numpy()]
        words = alone[:, place].double().numpy()
        quarter = np.arange(samples) % 4
        a, b, d, c = words.T
        r2 = {}
        for name in ("groups", "words"):
            error = total = 0.0
            for train in (quarter != i for i in range(4)):

                def r2_alone(x: Any, train: Any = train, value: Any = value) -> float:
                    parts = (np.cov(x[train], v[train], bias=True) for v in value)
                    return sum(c[0, 1] ** 2 / c[0, 0] for c in parts)

                own = [a, b, c, d, a * b, a * c, b * c]
                chosen = sorted(words.T, key=r2_alone, reverse=True)[: len(own)]
                columns = own if name == "groups" else chosen
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
