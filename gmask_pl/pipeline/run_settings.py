"""The settings of a finished run, as its folder holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gmask_pl.escaping import visible
from gmask_pl.identity.parts import described
from gmask_pl.pipeline.damaged_folders import kept_to, reading, yaml_object
from gmask_pl.processes import say
from gmask_pl.types import JSON, Unreadable

AWAY = "move that run away, or make it again"

# The settings of a run that tables read, whatever it explained.
_SETTINGS = {
    "model": dict,
    "dataset": dict,
    "explainer": dict,
    "metric": dict,
    "unit": (str, list),
    "split": str,
    "seed": int,
    "pairs": (list, type(None)),
}


def read_config(path: Path) -> DictConfig:
    """The settings of a run, each part by its kind. Raises Unreadable where they are damaged.

    A run writes values, so ``${...}`` is text: it would read this machine's environment.
    """
    with reading(path, f": {AWAY}"):
        return settings_of(yaml_object(path))


def settings_of(written: JSON) -> DictConfig:
    """What was written of a run's settings. Raises ValueError, or an error of OmegaConf, where
    they are none."""
    kept_to(_SETTINGS, written)
    if lacking := _SETTINGS.keys() - written.keys():
        raise ValueError(f"there is no {', '.join(sorted(lacking))}")
    for part in ("model", "dataset"):
        name = written[part].get("name")
        if not isinstance(name, str) or visible(name) != name or set(name) & set("/\\"):
            raise ValueError(f"{part}.name is {name!r}, no name of a {part}")
    config: DictConfig = OmegaConf.create(described(literal(written)))
    return config


def literal(value: Any) -> Any:
    """A value read from a file, in which ``${...}`` is text."""
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    if value == "???":  # which OmegaConf takes for a value that is still to come
        raise ValueError("a setting is '???'")
    return value.replace("${", r"\${") if isinstance(value, str) else value


def leave_out(error: Unreadable) -> None:
    """Says what is left out."""
    say(f"left out: {error}")
