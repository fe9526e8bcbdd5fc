"""Runs: a configuration in; trained weights, or explanations and their scores, out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gmask_pl.pipeline.from_python import from_settings

__all__ = ["from_settings"]


def __getattr__(name: str) -> Any:
    if name != "from_settings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gmask_pl.pipeline.from_python import from_settings

    return from_settings
