"""A part by its name in ``conf/`` and its settings: where its class lies decides nothing.

The class of an explainer, a metric, a data set or a model is named by the YAML file that declares
it as ``_target_``, of several by the first in the order of the alphabet. A class that no file of
``conf/`` declares, such as a user's own, is named by its path.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from gmask_pl.types import JSON

_PACKAGE = Path(__file__).resolve().parents[1]
# At the top of a checkout, where it is the user's too; in a wheel within the package.
CONF = next((p for p in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if p.is_dir()), _PACKAGE)
GROUPS = ("dataset", "explainer", "logger", "metric", "model", "trainer")
TARGET, KIND, CODE = "_target_", "kind", "code"
_FUNCTIONS = ("segment",)  # settings of parts that name a function by its path
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def config_folders() -> list[Path]:
    """``conf/`` and the folders that ``hydra.searchpath`` of explain.yaml adds to it."""
    written = yaml.load((CONF / "explain.yaml").read_text("utf-8"), Loader=_YAML)
    found = [CONF]
    for place in written.get("hydra", {}).get("searchpath", ()):
        package = str(place).removeprefix("pkg://")
        spec = importlib.util.find_spec(package.partition(".")[0])
        above = (spec.submodule_search_locations or ()) if spec else ()
        found += [Path(folder, *package.split(".")[1:]) for folder in above]
    return found


def described(settings: Any, code_at: Callable[[str], str] | None = None) -> Any:
    """Settings in which every part has its ``kind`` in place of the path of its class.

    So has what names a function, such as ``segment``.

    code_at: tells the code of a class or function that is the user's own by its path, as
    `gmask_pl.identity.of_code.code_at` does; it imports the class. None: nothing is imported.
    """
    if isinstance(settings, list):
        return [described(value, code_at) for value in settings]
    if not isinstance(settings, Mapping):
        return settings
    found = {key: described(value, code_at) for key, value in settings.items() if key != TARGET}
    if TARGET not in settings:
        return found
    named = {key: found[key] for key in _FUNCTIONS if isinstance(found.get(key), str)}
    found |= {key: _told(path, code_at) for key, path in named.items()}
    return _told(str(settings[TARGET]), code_at) | found


def _told(path: str, code_at: Callable[[str], str] | None) -> JSON:
    """What is at a dotted path, by its name and, where it is the user's own, by its code."""
    code = code_at(path) if code_at is not None else ""
    return {KIND: kind_of(path)} | ({CODE: code} if code else {})


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
