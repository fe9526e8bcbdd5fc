"""Bounds of AOPC, kept on disk for whoever asks about the same pair of the same model again."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Sequence
from pathlib import Path

from gmask_pl.files import warn_once, whole_file

Bounds = tuple[float, float, bool]  # lowest and highest AOPC of a pair, and whether exact


class BoundsCache:
    """Bounds by a key that names all they depend on: model, pair, removal, search.

    folder: None keeps nothing. Every process writes a JSON Lines file of its own, whole or not
    at all, and reads those that others have left when it starts; so runs can share a folder on
    any file system. Two runs at a time may search the same pair twice, and find the same. What
    cannot be read is searched again, and what cannot be written is not kept; both are told once.
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
        lines = (
            json.dumps({"key": key, "lowest": low, "highest": high, "exact": exact})
            for key, (low, high, exact) in self.own.items()
        )
        try:
            with whole_file(self.folder / self.name, lasting=False) as draft:
                draft.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        except OSError as error:
            warn_once("bounds", f"bounds are not kept for other runs: {error}")

    def _read(self) -> dict[str, Bounds]:
        found: dict[str, Bounds] = {}
        files = [] if self.folder is None else sorted(self.folder.glob("*.jsonl"))
        for file in files:
            own: dict[str, Bounds] = {}
            try:
                for line in file.read_text("utf-8").splitlines():
                    row = json.loads(line)
                    own[row["key"]] = _checked(row["lowest"], row["highest"], row["exact"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                warn_once(
                    f"bounds {file}",
                    f"{file}, line {len(own) + 1}: not a bound of AOPC ({error}): what is not read "
                    "is searched again",
                )
            found |= own
        return found


def _checked(low: object, high: object, exact: object) -> Bounds:
    """Bounds as they were stored. Raises ValueError for what cannot be any."""
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    if not numbers or not isinstance(exact, bool) or not -math.inf < low <= high < math.inf:  # type: ignore[operator]
        raise ValueError(f"lowest {low!r}, highest {high!r}, exact {exact!r}")
    return float(low), float(high), exact  # type: ignore[arg-type]
