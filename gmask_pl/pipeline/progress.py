"""What a stage of a run has done so far: a file for every batch, so that it can go on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from gmask_pl.explanation import Explanation
from gmask_pl.files import damaged, remove_ours, set_aside
from gmask_pl.identity.of_result import IDENTITY, Identity
from gmask_pl.store import check_pairs, read_failed
from gmask_pl.types import PairScore, UserError

EXPLAINED, SCORED = "explained", "scored"
Row = TypeVar("Row", Explanation, PairScore)


class Progress(Generic[Row]):
    """The finished batches of one stage, in a folder that is of one identity.

    A batch leaves one file that appears whole or not at all, named by the batch and by the process
    that wrote it. Batch i holds the same pairs however many processes there are and whichever of
    them takes it, so a stage that goes on, on as many processes as it likes, gives what an
    uninterrupted one gives.

    done: what becomes of a batch. rank: of this process. ids: of the pairs of every batch.
    write, read: of the file of a batch; the last raises UserError where it cannot be read whole.
    others: what else the stage leaves in the folder, by name, and what checks it.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        done: str,
        *,
        rank: int,
        ids: Iterable[Collection[str]],
        write: Callable[..., object],
        read: Callable[[Path], Iterator[Row]],
        others: Mapping[str, Callable[[Path], object]],
    ) -> None:
        self.folder, self.identity, self.done, self.rank = folder, identity, done, rank
        self.ids = dict(enumerate(ids))
        self.write, self.others = write, others
        self.read: Callable[[Path], Iterator[Row]] = read
        self._name = re.compile(rf"{done}-(\d+)-\d+\.parquet")

    def begin(self, *, afresh: bool) -> None:
        """Makes the folder; afresh: without what an earlier run has left there.

        What cannot be read of that does not count, is named, and goes.
        """
        if afresh or Identity.read(self.folder) not in (None, self.identity):
            self.end()
        self.identity.write(self.folder)
        for file in sorted(self.folder.iterdir()):
            check = self._read if self._name.fullmatch(file.name) else self.others.get(file.name)
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
        remove_ours(self.folder, lambda name: name in ours or bool(self._name.fullmatch(name)))

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
            found.setdefault(_number(file), file)
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
        """What was found, batch by batch. Raises UserError where a batch, or a pair, is not there:
        somebody else has been at work in the folder."""
        files = self.batches()
        for number in self.ids:
            if number not in files:
                raise UserError(
                    f"{self.folder}: batch {number} is not there any more, as another run was at "
                    "work in this folder: start the same command again, when no other one runs"
                )
            yield self._read(files[number])

    def _read(self, file: Path) -> list[Row]:
        rows = list(self.read(file))
        check_pairs(file, rows, self.ids.get(_number(file), ()))
        return rows

    def _files(self) -> list[Path]:
        files = sorted(self.folder.glob(f"{self.done}-*.parquet"))
        return [file for file in files if self._name.fullmatch(file.name)]


def _number(file: Path) -> int:
    """Of which batch it is."""
    return int(file.name.split("-")[1])
