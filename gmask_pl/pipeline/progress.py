"""What a stage of a run has done so far: a file for every batch, so that it can go on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Generic, TypeVar

from gmask_pl.files import damaged, remove_ours, set_aside
from gmask_pl.identity.of_result import IDENTITY, Identity
from gmask_pl.store import read_failed
from gmask_pl.types import UserError

EXPLAINED, SCORED = "explained", "scored"
Row = TypeVar("Row")


@dataclass(frozen=True)
class Progress(Generic[Row]):
    """The finished batches of one stage, in a folder that is of one identity.

    A batch leaves one file that appears whole or not at all, named by the batch and by the process
    that wrote it. Batch i holds the same pairs however many processes there are and whichever of
    them takes it, so a stage that goes on, on as many processes as it likes, gives what an
    uninterrupted one gives.

    done: what becomes of a batch. rank: of this process. write, read, check: of the file of a
    batch; the last raises UserError where it cannot be read whole. others: what else the stage
    leaves in the folder, by name, and what checks it.
    """

    folder: Path
    identity: Identity
    done: str
    _: KW_ONLY
    rank: int
    write: Callable[..., object]
    read: Callable[[Path], Iterator[Row]]
    check: Callable[[Path], object]
    others: Mapping[str, Callable[[Path], object]]

    def begin(self, *, afresh: bool) -> None:
        """Makes the folder; afresh: without what an earlier run has left there.

        What cannot be read of that does not count, is named, and goes.
        """
        if afresh or Identity.read(self.folder) not in (None, self.identity):
            self.end()
        self.identity.write(self.folder)
        for file in sorted(self.folder.iterdir()):
            check = self.check if self._is_batch(file.name) else self.others.get(file.name)
            try:
                if check is not None:
                    check(file)
            except UserError as error:
                damaged(file, error)
                set_aside(file, kept=os.path.isfile)
                file.unlink(missing_ok=True)

    def end(self) -> None:
        """Removes what the stage has made of the folder."""
        ours = (IDENTITY, *self.others)
        remove_ours(self.folder, lambda name: name in ours or self._is_batch(name))

    def drop_batches(self) -> None:
        """Removes the batches alone, once they are kept elsewhere."""
        for file in self._files():
            file.unlink(missing_ok=True)

    def keep(self, batch: int, rows: Iterable[Row], failed: Mapping[str, str]) -> None:
        """Keeps what a stage has found for a batch, and why pairs of it failed, by id."""
        file = self.folder / f"{self.done}-{batch:07d}-{self.rank:04d}.parquet"
        self.write(file, rows, failed=failed)

    def batches(self) -> dict[int, Path]:
        """The files of the batches that are done, by batch in order."""
        found: dict[int, Path] = {}
        for file in self._files():
            found.setdefault(int(file.name.split("-")[1]), file)
        return dict(sorted(found.items()))

    def left(self, batches: int) -> list[int]:
        """Which of so many batches are not done."""
        done = self.batches()
        return [number for number in range(batches) if number not in done]

    def failed(self) -> dict[str, str]:
        """The pairs that failed, and why, by id."""
        every: dict[str, str] = {}
        for file in self.batches().values():
            every |= read_failed(file)
        return every

    def rows(self) -> Iterator[list[Row]]:
        """What was found so far, batch by batch."""
        return (list(self.read(file)) for file in self.batches().values())

    def _files(self) -> list[Path]:
        files = sorted(self.folder.glob(f"{self.done}-*.parquet"))
        return [file for file in files if self._is_batch(file.name)]

    def _is_batch(self, name: str) -> bool:
        return re.fullmatch(rf"{self.done}-\d+-\d+\.parquet", name) is not None
