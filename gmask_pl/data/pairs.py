"""The user's own pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from gmask_pl.data.cleaning import check_cut, segment_at
from gmask_pl.data.jsonl import SUFFIXES, rows_of
from gmask_pl.data.source import Row, Source
from gmask_pl.data.split_files import MissingSplit, need
from gmask_pl.data.tables import STDIN, Broken, Records, complete, place_of, records
from gmask_pl.settings import Label, checked
from gmask_pl.types import UserError


class Pairs(Source):
    """``dataset=pairs dataset.path=my.csv``: pairs of texts, with or without labels.

    - path: a file of pairs, by its ending JSON Lines (``.jsonl``), a JSON array (``.json``),
      ``.csv``, ``.tsv`` or ``.parquet``, the text forms also with ``.gz``, which is then the test
      split; ``-`` for standard input; or a folder with {train,dev,test}.jsonl(.gz).
    - labels: the label names, in any order; None: those of the model.
    - text1, text2, label, id: what the columns are called; None: as these settings are.
    - segment: the dotted path of a function that cuts a text into words, see `find_words`; None:
      by spaces, signs and the word boundaries of Unicode.

    A pair may lack its label (then None) and its id (then the number of its line); a line without
    two texts is left out.
    """

    forms = (
        "{train,dev,test}.jsonl(.gz), or one file of pairs (.jsonl, .json, .csv, .tsv, .parquet), "
        "which is then the test split"
    )

    @checked
    def __init__(
        self,
        *,
        name: str,
        path: str | None,
        clean: bool,
        labels: Sequence[Label] | None,
        text1: str | None,
        text2: str | None,
        label: str | None,
        id: str | None,
        segment: str | None,
    ) -> None:
        super().__init__(name=name, path=path, clean=clean)
        self.labels = tuple(map(str, labels or ()))
        self.segment = None if segment is None else segment_at(segment)
        check_cut(clean=clean, segment=self.segment)
        self.names = {
            "text1": text1 or "text1",
            "text2": text2 or "text2",
            "label": label or "label",
            "id": id or "id",
        }
        # Those that somebody has named must be there, the texts always.
        self.needed = [self.names["text1"], self.names["text2"]] + [
            name for name in (label, id) if name is not None
        ]
        if labels is not None and len(set(self.labels)) < max(2, len(self.labels)):
            raise UserError(
                f"dataset.labels={list(self.labels)}: give at least two different label names, "
                "as in dataset.labels=[no,yes], or null for those of the model"
            )

    def check(self, split: str) -> None:
        """Reads as much of a split as tells that it has the columns that are needed."""
        failed: dict[str, str] = {}
        missing = set(self.needed)
        with self.telling(split):
            found = self._records(
                self._file(split), lambda error: failed.update({error.place: error.reason})
            )
            for _, _, fields in found:
                missing -= fields.keys()
                if not missing:
                    return
        raise self.holds_none(split, failed)

    def rows(self, split: str) -> Iterator[Row]:
        return self._rows(self._file(split), split)

    def folder_rows(self, folder: Path, split: str) -> Iterator[Row]:
        return self._rows(_of_split(folder, split), split)

    def _rows(self, path: Path, split: str) -> Iterator[Row]:
        broken = partial(self.leave_out, split)
        return rows_of(self._records(path, broken), lenient=True, broken=broken, names=self.names)

    def _records(self, path: Path, broken: Broken) -> Records:
        return complete(records(path, self.needed, broken), place_of(path), self.needed)

    def _file(self, split: str) -> Path:
        if self.path is None or not (self.path.is_file() or str(self.path) == STDIN):
            return _of_split(self.folder(), split)
        if split != "test":
            raise MissingSplit("the path is one file")
        return self.path


def _of_split(folder: Path, split: str) -> Path:
    return need(folder, *(split + suffix for suffix in SUFFIXES))
