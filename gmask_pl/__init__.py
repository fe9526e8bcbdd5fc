"""Explanations of sentence-pair classifiers by learned word-group masks (GMASK).

What a user imports is here, and loaded when it is asked for.

>>> from gmask_pl import PairExplainer
>>> def shared(pairs):  # or PairExplainer(model, tokenizer), of transformers
...     return [float(len(set(a.split()) & set(b.split()))) for a, b in pairs]
>>> explain = PairExplainer(shared, method="occlusion")
>>> explain("two dogs run", "dogs sleep").top(1)
[('dogs', 1.0)]

Runs with their settings, files and reports are in `gmask_pl.pipeline`.
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"


def _exported() -> dict[str, str]:
    """The module of every name, as the stub beside this file has it."""
    stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: f"{node.module}".removeprefix("gmask_pl.")
        for node in imports
        for alias in node.names
    }


_MODULES = _exported()
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
