"""What can be given by name to the class or function that a ``_target_`` names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.settings_schema import STRANGERS
from gmask_pl.settings import kinds_of

PLAIN = (int, float, str, bool, list, dict, tuple, NoneType, Any)


@dataclass(frozen=True, slots=True)
class Signature:
    """kinds: the annotation of every name; required: the names without a default; anything: whether
    it takes any other name, too."""

    kinds: dict[str, Any]
    required: tuple[str, ...]
    anything: bool

    def kind(self, name: str) -> Any:
        """None for a name that is not taken."""
        return self.kinds.get(name, Any if self.anything else None)


def signature_of(part: Any) -> Signature:
    """Of a class or function. ``**name: Any`` of a constructor is what its base class takes.

    A classifier is made of settings and of what code gives it, such as labels and words, so of it
    only plain settings are required.
    """
    kinds: dict[str, Any] = {}
    needed: list[str] = []
    by_code: set[str] = set()
    functions = _constructors(part) if isinstance(part, type) else [part]
    if isinstance(part, type) and issubclass(part, PairClassifier):
        by_code = {*kinds_of(PairClassifier.from_data), *kinds_of(PairClassifier.from_weights)}
        functions.insert(0, part.from_data)
    anything = True
    for function in functions:
        names, anything = _names(function)
        for name, kind, optional in names:
            if name in by_code or name in kinds:
                continue
            kinds[name] = kind
            if not optional and (not by_code or _is_plain(kind)):
                needed.append(name)
        if not anything:
            break
    if part in STRANGERS:
        kinds |= get_type_hints(STRANGERS[part], include_extras=True)
    return Signature(kinds, tuple(needed), anything)


def _constructors(part: type) -> list[Callable[..., Any]]:
    """Of the class and those that it is made of, in the order in which each calls the next."""
    own = (base.__dict__.get("__init__") for base in part.__mro__ if base is not object)
    return [function for function in own if function is not None]


def _names(function: Callable[..., Any]) -> tuple[list[tuple[str, Any, bool]], bool]:
    """(name, annotation, whether it has a default) of what can be given by name.

    And whether it takes any other name, and hands it on.
    """
    known = kinds_of(function)
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    named = {
        name: parameter.default is not parameter.empty
        for name, parameter in parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    more = dict.fromkeys(known.keys() - parameters.keys() - {"self"}, False)  # **name: Unpack[...]
    open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    found = [(name, known.get(name, Any), default) for name, default in {**named, **more}.items()]
    return found, open_ended and not more


def _is_plain(kind: Any) -> bool:
    """Whether a number, a text or a switch."""
    if get_origin(kind) is Annotated:
        return _is_plain(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return all(map(_is_plain, get_args(kind)))
    return kind in PLAIN or get_origin(kind) is Literal
