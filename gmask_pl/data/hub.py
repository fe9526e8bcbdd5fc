"""Datasets from the Hugging Face hub, through the optional package ``datasets``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gmask_pl.types import UserError

_SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def hub_records(
    repository: str, config: str | None, split: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Records of a split, each with its place for messages. Raises UserError if unreachable."""
    try:
        import datasets

        records = datasets.load_dataset(repository, config, split=_SPLITS[split])
    # Missing package, no network, a removed repository, a full disk: all have one way out.
    except Exception as error:
        raise UserError(
            f"{repository} cannot be fetched from the Hugging Face hub "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason'})"
            "; set dataset.path to a folder that holds the data"
            + ("" if not isinstance(error, ImportError) else ", or install the extra 'hub'")
        ) from error
    for number, record in enumerate(records):
        yield f"{repository} {split} {number}", record


def hub_label(index: int, names: tuple[str, ...], place: str) -> str | None:
    """The name of a label index; -1 is an unknown label."""
    if index == -1:
        return None
    if not 0 <= index < len(names):
        raise UserError(f"{place}: label {index} is unknown; there are 0 to {len(names) - 1}")
    return names[index]
