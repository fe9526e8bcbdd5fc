"""How the settings of an explainer differ from its YAML; needs Hydra to be initialised."""

from __future__ import annotations

import functools
from typing import Any

from hydra import compose
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError

from gmask_pl.identity.parts import KIND, described
from gmask_pl.identity.setting_roles import plain_numbers
from gmask_pl.pipeline.hydra_setup import choices
from gmask_pl.types import JSON, UserError

UNKNOWN = "?"


def changed_settings(explainer: str, model: str, settings: JSON) -> dict[str, Any]:
    """The settings that are not as the YAML says, flat, without seeds.

    What it says and they do not hold is ``UNKNOWN``: they are of an earlier version.
    """
    defaults = yaml_settings(explainer, model)
    known = named_parts(flat(plain_numbers(settings)), defaults, model)
    found = {key: value for key, value in known.items() if defaults.get(key) != value}
    return found | dict.fromkeys(missing_settings(explainer, model, settings), UNKNOWN)


def missing_settings(explainer: str, model: str, settings: JSON) -> set[str]:
    """What the YAML says and the settings do not hold, parts that are another thing left out."""
    defaults, own = yaml_settings(explainer, model), flat(settings)
    others = [
        key.removesuffix(KIND)
        for key in defaults
        if key.endswith(f".{KIND}") and own.get(key) != defaults[key]
    ]
    return {key for key in defaults.keys() - own.keys() if not key.startswith(tuple(others))}


@functools.cache
def yaml_settings(explainer: str, model: str) -> dict[str, Any]:
    """What the YAML of an explainer says for a model, flat."""
    try:
        settings = _composed(model)[explainer]
    except (MissingConfigException, ConfigKeyError) as error:
        raise UserError(
            f"runs of explainer={explainer} model={model} cannot be told apart: conf/ does not "
            "hold both; put them back, or move these runs out of outputs"
        ) from error
    return flat(plain_numbers(described(OmegaConf.to_container(settings, resolve=True))))


@functools.cache
def _composed(model: str) -> DictConfig:
    """The settings of all explainers by their names, composed at once, as that takes long."""
    known = [f"+explainer@known.{name}={name}" for name in choices("explainer")]
    # Without what else takes long, and no explainer depends on.
    cfg = compose("explain", [f"model={model}", "metric=[]", "logger=[]", *known])
    found: DictConfig = cfg.known
    return found


def named_parts(settings: dict[str, Any], defaults: dict[str, Any], model: str) -> dict[str, Any]:
    """Flat settings in which a part such as ``word_filter``, where it is not the usual one, is
    the name of its YAML, if it is as one of them says."""
    found = dict(settings)
    parts = {key.removesuffix(f".{KIND}") for key in settings if key.endswith(f".{KIND}")}
    for part in sorted(parts, key=len):
        own = {key: found[key] for key in found if key.startswith(f"{part}.")}
        if all(defaults.get(key) == value for key, value in own.items()):
            continue
        nested = {key.removeprefix(f"{part}."): value for key, value in own.items()}
        for name in choices("explainer"):
            if yaml_settings(name, model) == nested:
                found = {key: found[key] for key in found if key not in own} | {part: name}
                break
    return found


def flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names, without seeds."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        elif key != "seed":
            found[f"{prefix}{key}"] = value
    return found
