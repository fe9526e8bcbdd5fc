"""QQP: Quora question pairs in GLUE's partition (Wang et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gmask_pl.data.jsonl import has_jsonl, jsonl_rows
from gmask_pl.data.source import PARAPHRASE, Row, Source, hub_label, hub_records, paraphrase_label
from gmask_pl.data.split_files import column, need, read_tsv, where


class QQP(Source):
    """``dataset=qqp``. Folder forms: JSONL, GLUE's {train,dev,test}.tsv; or ``nyu-mll/glue``.

    GLUE's train.tsv is known to hold lines of a wrong number of fields (questions broken over two
    lines); they are left out, as by GLUE's readers, and told by `failed`. GLUE keeps its test
    labels: they are None. The hub's name is unverified: it was not reached when this was written.
    """

    labels = PARAPHRASE
    forms = "{train,dev,test}.jsonl(.gz) or {train,dev,test}.tsv"

    def folder_rows(self, folder: Path, split: str) -> Iterator[Row]:
        return jsonl_rows(folder, split) if has_jsonl(folder) else self._tsv_rows(folder, split)

    def hub_rows(self, split: str) -> Iterator[Row]:
        for place, record in hub_records("nyu-mll/glue", "qqp", split):
            label = hub_label(record["label"], self.labels, place)
            yield Row(place, str(record["idx"]), record["question1"], record["question2"], label)

    def _tsv_rows(self, folder: Path, split: str) -> Iterator[Row]:
        path = need(folder, f"{split}.tsv")
        for number, fields in read_tsv(path, broken=partial(self.leave_out, split)):
            place = where(path, number)
            names = ("id", "question1", "question2")
            id, text1, text2 = (column(fields, name, place) for name in names)
            label = None
            if split != "test" or "is_duplicate" in fields:
                label = paraphrase_label(column(fields, "is_duplicate", place), place)
            yield Row(place, id, _unquoted(text1), _unquoted(text2), label)


def _unquoted(field: str) -> str:
    """The field without the quotes that some questions were exported with ("a ""b"" c")."""
    inside = field[1:-1].replace('""', "")
    if len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inside:
        return field[1:-1].replace('""', '"')
    return field
