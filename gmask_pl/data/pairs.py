"""The user's own pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from gmask_pl.data.jsonl import SUFFIXES, file_rows
from gmask_pl.data.source import Row, Source
from gmask_pl.data.split_files import MissingSplit, need
from gmask_pl.settings import Label, checked
from gmask_pl.types import UserError


class Pairs(Source):
    """``dataset=pairs dataset.path=my.jsonl dataset.labels=[no,yes]``: text1, text2, label.

    path: a folder with {train,dev,test}.jsonl(.gz), or one such file, which is then the test
    split. labels: the label names, in any order. A pair may lack its label (then None) and its id
    (then the line number); a line without two texts is left out.
    """

    forms = "{train,dev,test}.jsonl(.gz), or one such file, which is then the test split"

    @checked
    def __init__(
        self, *, name: str, path: str | None, clean: bool, labels: Sequence[Label] | None
    ) -> None:
        super().__init__(name=name, path=path, clean=clean)
        self.labels = tuple(map(str, labels or ()))
        if len(set(self.labels)) < max(2, len(self.labels)):
            raise UserError(
                f"dataset.labels={list(self.labels)}: give at least two different label names, "
                "as in dataset.labels=[no,yes]"
            )

    def rows(self, split: str) -> Iterator[Row]:
        if self.path is None or not self.path.is_file():
            return super().rows(split)
        if split != "test":
            raise MissingSplit("the path is one file")
        return self.file_rows(self.path, split)

    def folder_rows(self, folder: Path, split: str) -> Iterator[Row]:
        return self.file_rows(need(folder, *(split + suffix for suffix in SUFFIXES)), split)

    def file_rows(self, path: Path, split: str) -> Iterator[Row]:
        return file_rows(path, lenient=True, broken=partial(self.leave_out, split))
