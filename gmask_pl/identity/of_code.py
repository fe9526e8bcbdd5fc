"""What a user's own code does, told by the code itself: nobody counts its versions.

A class or function of this project, of Python or of an installed package has no such code: its
name stands for it.
"""

from __future__ import annotations

import functools
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from gmask_pl.identity.setting_roles import digest_of

_PROJECT = ("gmask_pl", "gmask_paper")
# What Python itself writes into a class.
_OF_PYTHON = (
    *("__annotations__", "__doc__", "__firstlineno__", "__module__", "__qualname__"),
    "__static_attributes__",
)


def code_of(value: Any) -> str:
    """A digest of what a class or function does; "" where it is not the user's own.

    It holds the instructions of its functions, the plain values that they and the class name, and
    the same of all own classes and functions among these. Names of classes, comments, docstrings
    and places in a file do not matter.

    >>> from gmask_pl.identity.of_code import code_of
    >>> code_of(dict), code_of(code_of)
    ('', '')
    """
    found: dict[int, list[Any]] = {}
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in found or not _is_own(item):
            continue
        found[id(item)] = told = []
        for name, part in _parts(item):
            if isinstance(part, FunctionType):
                told.append([name, *_instructions(part.__code__, part.__doc__)])
                names = sorted({*_names(part.__code__)})
                used = [part.__globals__.get(name) for name in names]
                modules = [
                    one for one in used if isinstance(one, ModuleType) and _is_users(one.__name__)
                ]
                used += [vars(module).get(name) for module in modules for name in names]
                waiting += used
                told.append([_plain(one) for one in used])
            else:
                waiting.append(part)
                told.append([name, _plain(part)])
        waiting += getattr(item, "__mro__", ())
    return digest_of(sorted(found.values(), key=repr), size=16) if found else ""


def code_at(path: str) -> str:
    """What `code_of` tells of the class or function at a dotted path."""
    if path.partition(".")[0] in _PROJECT:  # not worth an import
        return ""
    found = pkgutil.resolve_name(path)
    while isinstance(found, functools.partial):
        found = found.func
    return code_of(found if isinstance(found, type | FunctionType) else type(found))


def _is_own(value: Any) -> bool:
    if not isinstance(value, type | FunctionType):
        return False
    return _is_users(str(value.__module__))


def _is_users(module: str) -> bool:
    """Whether neither Python, nor an installed package, nor this project brings a module."""
    top = module.partition(".")[0]
    return top not in sys.stdlib_module_names and top not in _PROJECT and not _is_installed(top)


@functools.cache
def _is_installed(package: str) -> bool:
    """Whether a package lies where an installer has put it: with the records of what is there."""
    module = sys.modules.get(package)
    file = getattr(module, "__file__", None)
    places = [Path(place) for place in getattr(module, "__path__", [file] if file else ())]
    return any(next(place.parent.glob("*.dist-info"), None) for place in places)


def _parts(item: type | FunctionType) -> Iterator[tuple[str, Any]]:
    """What a class holds, by name; of a function itself alone."""
    if isinstance(item, FunctionType):
        yield "", item
        return
    for name, value in vars(item).items():
        if name not in _OF_PYTHON:
            yield name, value
            # What a property, a static or class method and a decorator were made of.
            for key in ("fget", "func", "__func__", "__wrapped__"):
                if isinstance(part := getattr(value, key, None), FunctionType):
                    yield name, part


def _instructions(code: CodeType, docstring: str | None = None) -> list[Any]:
    constants = [
        _instructions(item) if isinstance(item, CodeType) else _plain(item)
        for item in code.co_consts
        if item not in (docstring, None)  # where there is no docstring, None has its place
    ]
    return [code.co_code.hex(), code.co_names, constants]


def _names(code: CodeType) -> Iterator[str]:
    """The names that a function and those within it use."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _plain(value: Any) -> str | None:
    """A value as text; None where it is not made of numbers and texts alone."""
    try:
        return json.dumps(sorted(value) if isinstance(value, frozenset) else value, sort_keys=True)
    except (TypeError, ValueError):
        return None
