"""The paper's own numbers and names, read from paper_numbers.yaml."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from gmask_pl.types import JSON

NUMBERS = Path(__file__).with_name("paper_numbers.yaml")


@functools.cache
def paper() -> JSON:
    """Everything that paper_numbers.yaml holds."""
    return OmegaConf.to_container(OmegaConf.load(NUMBERS))  # type: ignore[return-value]


def published(table: str, *keys: str) -> Any:
    """A number of a table by model, explainer (where the table has them) and dataset, in the
    order that the table nests them; None where the paper prints none.

    The last key is the dataset, except of Table 5, whose rows are datasets and are given whole.
    """
    values: Any = paper().get(table, {})
    for key in keys:
        if isinstance(values, list):
            columns = paper()["datasets"]
            return values[columns.index(key)] if key in columns else None
        if key not in values:
            return None
        values = values[key]
    return values


def explainers() -> list[str]:
    """The explainers that the paper compares, in its order."""
    return list(paper()["names"]["explainers"])


def title(kind: str, name: str) -> str:
    """The paper's name of a dataset, model or explainer; its own where the paper has none."""
    return str(paper()["names"][kind].get(name, name))
