"""What a command line of one's own weights and pairs leaves unsaid: it follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gmask_pl.models.adapters import JUDGE, kind_of
from gmask_pl.pipeline.hydra_setup import choices


def implied(overrides: Sequence[str]) -> list[str]:
    """The overrides that these lead to, which come before them.

    Where no data set is named, a path is one of pairs, whatever lies there: dataset=pairs says what
    is wrong with it. Of pairs of one's own, weights in a folder say what kind of model they are,
    and how many tokens it reads.
    """
    said = {key: value for key, _, value in (text.partition("=") for text in overrides)}
    found: list[str] = []
    named = {"dataset", "experiment"} & said.keys()
    if not named and said.get("dataset.path", "null") not in ("", "null"):
        found.append("dataset=pairs")
    weights = Path(said.get("weights", "")).expanduser()
    of_ones_own = "dataset=pairs" in found or said.get("dataset") == "pairs"
    if of_ones_own and "weights" in said and "model" not in said and weights.is_dir():
        kind = kind_of(weights)
        found.append(f"model={kind}")
        if kind in ("bert", JUDGE) and "model.net.max_length" not in said:
            found.append("model.net.max_length=null")
    return [text for text in found if _there(text)]


def _there(override: str) -> bool:
    """Whether a part that is chosen is one of conf/."""
    group, _, name = override.partition("=")
    return "." in group or name in choices(group)
