"""Reads files that somebody else may have written: what is wrong with one is a message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from gmask_pl.types import JSON, Unreadable, UserError

LARGEST = 2**26  # bytes of a file of settings or results
DEEPEST = 64  # nested parts; libyaml ends the process at some ten thousand
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's reads ten times faster
# What wrong contents raise, whatever reads them.
_WRONG = (
    *(OSError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, ImportError),
    *(RecursionError, MemoryError, yaml.YAMLError, OmegaConfBaseException, HydraException),
)


@contextmanager
def reading(place: Path | str, advice: str = "") -> Iterator[None]:
    """Raises Unreadable, which names the place, for all that goes wrong while it is read.

    advice: the way out, after the reason.
    """
    try:
        yield
    except UserError as error:
        told = f"{error}".removeprefix(f"{place}: ").removeprefix(f"{place}/")
        raise Unreadable(place, told) from error
    except _WRONG as error:
        why = " ".join(f"{error}".split()) or type(error).__name__
        raise Unreadable(place, f"{why[:300]}{advice}") from error


def json_object(path: Path) -> JSON:
    """The object of a JSON file. Raises what `reading` catches."""
    found = json.loads(_text(path))
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} and no object")
    return found


def yaml_object(path: Path) -> JSON:
    """The mapping of a YAML file without aliases, which may stand for more than fits in memory.

    Raises what `reading` catches.
    """
    text, depth = _text(path), 0
    for event in yaml.parse(text, Loader=_YAML):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {event.start_mark.line + 1} has an alias, which no run writes")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} parts within one another")
    found = yaml.load(text, Loader=_YAML)
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__} and no settings")
    return found


def kept_to(shape: Any, value: Any, where: str = "") -> None:
    """Raises ValueError where a value read from a file has not the shape that is asked for.

    shape: a type or a tuple of types; a list with the shape of every item; a dict with the shapes
    of some keys, which may be missing, and that of all others under ``...``.
    """
    if isinstance(shape, dict):
        kept_to(dict, value, where)
        for key, item in value.items():
            kept_to(shape.get(key, shape.get(..., object)), item, f"{where}.{key}".lstrip("."))
    elif isinstance(shape, list):
        kept_to(list, value, where)
        for i, item in enumerate(value):
            kept_to(shape[0], item, f"{where}[{i}]")
    elif not isinstance(value, shape) or (isinstance(value, bool) and shape in _NUMBERS):
        raise ValueError(f"{where or 'it'} is {f'{value!r}'[:80]}, a {type(value).__name__}")


NUMBER = (int, float, type(None))
_NUMBERS = (NUMBER, int, float)


def _text(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path.name} is no file")
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"{path.name} has {size:,} bytes, more than {LARGEST:,}")
    return path.read_text("utf-8")
