"""A part by its name in ``conf/`` and its settings: where its class lies decides nothing.

The class of an explainer, a metric, a data set or a model is named by the YAML file that declares
it as ``_target_``, of several by the first in the order of the alphabet. A class that no file of
``conf/`` declares, such as a user's own, is named by its path.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from gmask_pl.types import JSON

CONF = Path(__file__).resolve().parents[2] / "conf"  # outside the package: it is the user's too
GROUPS = ("dataset", "explainer", "logger", "metric", "model", "trainer")
TARGET, KIND = "_target_", "kind"
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def described(settings: Any) -> Any:
    """Settings in which every part has its ``kind`` in place of the path of its class."""
    if isinstance(settings, list):
        return [described(value) for value in settings]
    if not isinstance(settings, Mapping):
        return settings
    found = {key: described(value) for key, value in settings.items() if key != TARGET}
    return {KIND: kind_of(str(settings[TARGET]))} | found if TARGET in settings else found


def kind_of(target: str) -> str:
    """The name of the class at a dotted path."""
    return next((kind for (_, kind), path in kinds().items() if path == target), target)


def target_of(group: str, kind: str) -> str | None:
    """The path of the class that a file of a group declares; None where there is none."""
    return kinds().get((group, kind))


@functools.cache
def kinds() -> dict[tuple[str, str], str]:
    """The path of every class that ``conf/`` declares, by its group and name, sorted by them."""
    found: dict[tuple[str, str], str] = {}
    for group in GROUPS:
        for file in sorted((CONF / group).glob("*.yaml")):
            declared = _targets(yaml.load(file.read_text("utf-8"), Loader=_YAML) or {})
            if declared:
                found[group, file.stem] = declared[0]
    return found


def _targets(settings: JSON) -> list[str]:
    """The class that a file is about: its own, or that of ``net`` in the file of a model."""
    parts = [settings, settings.get("net") or {}, *settings.values()]
    return [str(part[TARGET]) for part in parts if isinstance(part, dict) and TARGET in part]
