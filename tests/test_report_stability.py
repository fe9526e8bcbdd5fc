"""Kendall's tau between removals, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from gmask_pl.pipeline.report.console_table import stability


def run(values: dict[str, Sequence[float | None]], *overrides: str) -> Any:
    """A run with one metric value for each removal pad, mask, ..."""
    names = ("pad", "mask", "zero")
    counts = {len(v) for v in values.values()}
    scored = {
        names[i]: {metric: {"value": v[i]} for metric, v in values.items()}
        for i in range(counts.pop())
    }
    return overrides, {"by_removal": scored}


def lines(*runs: Any) -> list[str]:
    found = stability(runs)
    assert not found or "Kendall" in found[0]
    return found[1:]


def test_tau_counts_pairs_that_keep_and_that_change_their_order() -> None:
    # aopc: a < b < c < d under pad; a < c < b < d under mask: 5 of 6 pairs keep their order.
    runs = [
        run({"aopc": (pad, mask), "same": (pad, pad), "back": (pad, -pad)}, f"explainer={name}")
        for name, pad, mask in (("a", 1, 1), ("b", 2, 3), ("c", 3, 2), ("d", 4, 4))
    ]
    assert lines(*runs) == ["pad, mask (4 runs): aopc 0.67, same 1.00, back -1.00"]


def test_ties_and_missing_values_are_not_hidden() -> None:
    runs = [
        run({"tied": (1, v), "half": (None, v), "partly": (p, v)}, f"explainer={v}")
        for v, p in ((1, None), (2, 5), (3, 6))
    ]
    assert lines(*runs) == ["pad, mask (3 runs): tied –, half –, partly 1.00"]


def test_runs_are_compared_within_one_setting_and_by_pairs_of_removals() -> None:
    runs = [
        run({"aopc": (v, v, -v)}, f"explainer={v}", f"model={m}", "limit=9")
        for m in ("bert", "dattn")
        for v in (1, 2)
    ]
    found = lines(*runs)
    assert found == [
        f"model={m}: {pair} (2 runs): aopc {tau}"
        for m in ("bert", "dattn")
        for pair, tau in (("pad, mask", "1.00"), ("pad, zero", "-1.00"), ("mask, zero", "-1.00"))
    ]


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [run({"aopc": (1, 2)}, "explainer=a")],
        [((f"explainer={name}",), {"aopc": {"value": 0.5}}) for name in "ab"],
        [run({"aopc": (1, 2)}, f"explainer={s}", f"seed={s}") for s in "01"],
    ],
)
def test_nothing_is_said_where_nothing_can_be_compared(runs: list[Any]) -> None:
    assert lines(*runs) == []
