"""Bounds of AOPC, kept on disk for whoever asks about the same pair of the same model again."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from gmask_pl.types import UserError

Bounds = tuple[float, float, bool]  # lowest and highest AOPC of a pair, and whether exact


class BoundsCache:
    """Bounds by a key that names all they depend on: model, pair, removal, search.

    folder: None keeps nothing. Every process writes a JSON Lines file of its own, whole or not
    at all, and reads those that others have left when it starts; so runs can share a folder on
    any file system. Two runs at a time may search the same pair twice, and find the same.
    """

    def __init__(self, folder: Path | str | None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.known: dict[str, Bounds] | None = None
        self.own: dict[str, Bounds] = {}
        self.name = f"{uuid.uuid4().hex}.jsonl"

    def get(self, key: str) -> Bounds | None:
        """The bounds of that key, if any run has found them."""
        if self.known is None:
            self.known = self._read()
        return self.known.get(key)

    def add(self, keys: Sequence[str], found: Sequence[Bounds]) -> None:
        """Keep bounds, on disk as well."""
        if self.folder is None:
            return
        self.own |= dict(zip(keys, found, strict=True))
        self.known = (self.known or {}) | self.own
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{self.name}.{os.getpid()}"
        lines = (
            json.dumps({"key": key, "lowest": low, "highest": high, "exact": exact})
            for key, (low, high, exact) in self.own.items()
        )
        draft.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        draft.replace(self.folder / self.name)

    def _read(self) -> dict[str, Bounds]:
        found: dict[str, Bounds] = {}
        files = [] if self.folder is None else sorted(self.folder.glob("*.jsonl"))
        for file in files:
            for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
                try:
                    row = json.loads(line)
                    found[row["key"]] = (row["lowest"], row["highest"], row["exact"])
                except (ValueError, KeyError, TypeError) as error:
                    raise UserError(
                        f"{file}, line {number}: not a bound of AOPC ({error}); delete the file, "
                        "its bounds are then searched again"
                    ) from error
        return found
