"""The examples in docstrings are right, and nothing public is without one."""

from __future__ import annotations

import doctest
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import gmask_pl
import gmask_pl.metrics
from gmask_pl import api

LAX = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Classes of which a user calls methods. Of others a user calls class methods: their other methods
# are what the library calls.
CALLED = {
    "Explainer",
    "Explanation",
    "ExplanationMetric",
    "Explanations",
    "ModelFreeMetric",
    "PairClassifier",
    "PairExplainer",
    "PairMetric",
}
# Shown beside another: its example is in the docstring of that.
BESIDE = {"write_explanations": "read_explanations"}


def with_examples() -> Iterator[str]:
    """The modules that print an example; the others need no import."""
    root = Path(str(gmask_pl.__file__)).parent
    for file in sorted(root.rglob("*.py")):
        if ">>> " in file.read_text("utf-8"):
            parts = file.relative_to(root.parent).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__")


def run(name: str) -> tuple[int, str]:
    """How many lines the examples of a module type, and what they print wrongly.

    Each docstring has a namespace of its own, as if it were typed at a fresh prompt.
    """
    runner = doctest.DocTestRunner(optionflags=LAX, verbose=False)
    told: list[str] = []
    for example in doctest.DocTestFinder().find(import_module(name), globs={}):
        example.globs["__name__"] = "__main__"
        runner.run(example, out=told.append)
    return runner.tries, "".join(told)


@pytest.mark.parametrize("name", [*with_examples()])
def test_the_printed_examples_are_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(api._TRAINER, "enable_progress_bar", False)  # of what is learnt
    typed, wrong = run(name)
    assert not wrong, wrong
    assert typed


def source_of(documented: Any) -> str:
    """What the examples of its own docstring type; "" where it has none, or inherits it."""
    own = documented.__doc__ if not isinstance(documented, type) else vars(documented)["__doc__"]
    return "".join(example.source for example in doctest.DocTestParser().get_examples(own or ""))


def methods(kind: type) -> Iterator[tuple[str, Any]]:
    """The documented methods and properties that a user of a class calls, as it defines them.

    Their own docstring has an example, or that of their class uses them.
    """
    for name, member in vars(kind).items():
        if name.startswith("_") and name != "__call__":
            continue
        own = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        called = kind.__name__ in CALLED or isinstance(member, classmethod)
        if called and isinstance(own, FunctionType | property) and own.__doc__:
            yield name, own


def lacking() -> Iterator[str]:
    """The public names without an example."""
    for name in gmask_pl.__all__:
        exported = getattr(gmask_pl, name)
        source = source_of(getattr(gmask_pl, BESIDE.get(name, name)))
        if not source:
            yield name
        for method, own in methods(exported) if isinstance(exported, type) else ():
            if not source_of(own) and not re.search(rf"\b{method}\b", source):
                yield f"{name}.{method}"
    walked = pkgutil.walk_packages(gmask_pl.metrics.__path__, "gmask_pl.metrics.")
    public = [found.name for found in walked if not found.name.rpartition(".")[2].startswith("_")]
    for module in ("gmask_pl.question", *public):
        for name, member in vars(import_module(module)).items():
            function = inspect.unwrap(member) if callable(member) else None
            own = isinstance(function, FunctionType) and function.__module__ == module
            if own and name[0] != "_" and not re.search(rf"\b{name}\(", source_of(function)):
                yield f"{module}.{name}"


def test_nothing_public_is_without_an_example() -> None:
    """A name of `gmask_pl`, a method that a user calls, a function of the metrics."""
    assert not " ".join(lacking())
