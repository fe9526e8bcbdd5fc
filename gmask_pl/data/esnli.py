"""e-SNLI: natural language inference with human highlights (Camburu et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from gmask_pl.data.jsonl import jsonl_rows
from gmask_pl.data.source import Marks, Row, Source, Tokens, hub_label, hub_records, placed
from gmask_pl.data.split_files import Fields, column, find, need, read_csv, read_jsonl, shown, where
from gmask_pl.types import UserError

_CSV = {
    "train": ("esnli_train_1.csv", "esnli_train_2.csv"),
    "dev": ("esnli_dev.csv",),
    "test": ("esnli_test.csv",),
}
_ANNOTATORS = (1, 2, 3)  # dev and test; train has one
_NO_GOLD_LABEL = "-"


class ESNLI(Source):
    """``dataset=esnli``. Folder forms: JSONL, the authors' CSVs, ERASER's docs.jsonl.

    SNLI's pairs without a gold label are left out, as is usual. The hub's ``stanfordnlp/snli``
    (unverified: not reached when this was written) has the same pairs, without highlights.
    """

    labels = ("entailment", "neutral", "contradiction")
    forms = "{train,dev,test}.jsonl(.gz), esnli_*.csv or docs.jsonl with {train,val,test}.jsonl"

    def folder_rows(self, folder: Path, split: str) -> Iterator[Row]:
        if find(folder, "docs.jsonl"):
            rows = _eraser_rows(folder, split)
        elif find(folder, *chain(*_CSV.values())):
            rows = chain(*(_csv_rows(need(folder, name)) for name in _CSV[split]))
        else:
            rows = jsonl_rows(folder, split)
        return (_as_annotated(row) for row in rows if row.label != _NO_GOLD_LABEL)

    def hub_rows(self, split: str) -> Iterator[Row]:
        for number, (place, record) in enumerate(hub_records("stanfordnlp/snli", None, split)):
            label, id = hub_label(record["label"], self.labels, place), f"{split}-{number}"
            if label is not None:
                yield Row(place, id, record["premise"], record["hypothesis"], label)


def _as_annotated(row: Row) -> Row:
    """The row, an unmarked premise of a neutral pair being unknown: marking it was not allowed."""
    if row.label != "neutral":
        return row
    return replace(row, marks=tuple((one or None, two) for one, two in row.marks))


def _csv_rows(path: Path) -> Iterator[Row]:
    for number, fields in read_csv(path):
        place = where(path, number)
        text1, text2 = (column(fields, name, place) for name in ("Sentence1", "Sentence2"))
        marks = (
            (
                _csv_tokens(fields, f"Sentence1_Highlighted_{annotator}", text1, place),
                _csv_tokens(fields, f"Sentence2_Highlighted_{annotator}", text2, place),
            )
            for annotator in _ANNOTATORS
            if f"Sentence1_Highlighted_{annotator}" in fields
        )
        marked = tuple(pair for pair in marks if pair != (None, None))
        id, label = (column(fields, name, place) for name in ("pairID", "gold_label"))
        yield Row(place, id, text1, text2, label, marked)


def _csv_tokens(fields: Fields, name: str, text: str, place: str) -> Tokens:
    """Positions as in 1,0,3, or {} for none; an empty field is a side nobody marked."""
    value = column(fields, name, place)
    if not value:
        return None
    if value == "{}":
        return frozenset()
    try:
        return placed(map(int, value.split(",")), text)
    except ValueError as error:
        raise UserError(f"{place}: {name} is {shown(value)}, not positions") from error


def _eraser_rows(folder: Path, split: str) -> Iterator[Row]:
    docs_path = folder / "docs.jsonl"
    docs: dict[str, str] = {}
    for number, doc in read_jsonl(docs_path):
        place = where(docs_path, number)
        docs[_field(doc, "docid", place)] = _field(doc, "document", place)
    path = need(folder, f"{'val' if split == 'dev' else split}.jsonl")
    for number, line in read_jsonl(path):
        place = where(path, number)
        name = _field(line, "annotation_id", place)
        sides = (f"{name}_premise", f"{name}_hypothesis")
        for side in sides:
            if side not in docs:
                raise UserError(f"{place}: {docs_path} has no docid {shown(side)}")
        label = _field(line, "classification", place)
        marks = _eraser_marks(line, docs, sides, place)
        yield Row(place, name, docs[sides[0]], docs[sides[1]], label, marks)


def _eraser_marks(
    line: dict[str, Any], docs: dict[str, str], sides: tuple[str, str], place: str
) -> tuple[Marks, ...]:
    """All evidence of a pair as one annotator's: half-open token ranges of either side."""
    marked: dict[str, set[int]] = {side: set() for side in sides}
    try:
        evidences = list(chain(*line["evidences"]))
        for evidence in evidences:
            marked[evidence["docid"]].update(range(evidence["start_token"], evidence["end_token"]))
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{place}: not ERASER evidences of {' and '.join(sides)}: "
            f"{shown(line.get('evidences'))}"
        ) from error
    if not evidences:
        return ()
    first, second = (placed(marked[side], docs[side]) for side in sides)
    return ((first, second),)


def _field(line: dict[str, Any], name: str, place: str) -> str:
    if not isinstance(line.get(name), str):
        raise UserError(f"{place}: no text {name!r} in {shown(line)}")
    return str(line[name])
