"""MRPC: the Microsoft Research paraphrase corpus (Dolan and Brockett 2005), GLUE's partition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gmask_pl.data.jsonl import has_jsonl, jsonl_rows
from gmask_pl.data.source import PARAPHRASE, Row, Source, hub_label, hub_records, paraphrase_label
from gmask_pl.data.split_files import column, find, need, read_tsv, where
from gmask_pl.types import UserError

_RAW_TRAIN = "msr_paraphrase_train.txt"
_RAW_TEST = "msr_paraphrase_test.txt"
_DEV_IDS = ("dev_ids.tsv", "mrpc_dev_ids.tsv")


class MRPC(Source):
    """``dataset=mrpc``. Folder forms: JSONL, GLUE's TSVs, msr_paraphrase_*.txt; or the hub.

    The raw train file is split by dev_ids.tsv, as GLUE does. The raw test file comes before
    test.tsv where both are there, because GLUE's has no labels (they are None). The hub's
    ``nyu-mll/glue`` is unverified: it was not reached when this was written.
    """

    labels = PARAPHRASE
    forms = "{train,dev,test}.jsonl(.gz), {train,dev,test}.tsv or msr_paraphrase_{train,test}.txt"

    def folder_rows(self, folder: Path, split: str) -> Iterator[Row]:
        if has_jsonl(folder):
            return jsonl_rows(folder, split)
        if split == "test":
            return _tsv_rows(need(folder, _RAW_TEST, "test.tsv"), labelled=False)
        if find(folder, f"{split}.tsv") or not find(folder, _RAW_TRAIN):
            return _tsv_rows(need(folder, f"{split}.tsv"), labelled=True)
        return _raw_rows(folder, split)

    def hub_rows(self, split: str) -> Iterator[Row]:
        for place, record in hub_records("nyu-mll/glue", "mrpc", split):
            label = hub_label(record["label"], self.labels, place)
            yield Row(place, str(record["idx"]), record["sentence1"], record["sentence2"], label)


def _tsv_rows(path: Path, *, labelled: bool) -> Iterator[Row]:
    for number, fields in read_tsv(path):
        place = where(path, number)
        id = f"{column(fields, '#1 ID', place)}-{column(fields, '#2 ID', place)}"
        text1, text2 = (column(fields, name, place) for name in ("#1 String", "#2 String"))
        label = None
        if labelled or "Quality" in fields:
            label = paraphrase_label(column(fields, "Quality", place), place)
        yield Row(place, id, text1, text2, label)


def _raw_rows(folder: Path, split: str) -> Iterator[Row]:
    path = find(folder, *_DEV_IDS)
    if path is None:
        raise UserError(
            f"{folder}: {_RAW_TRAIN} needs {_DEV_IDS[0]}, the pairs of ids that GLUE sets apart "
            "for development, to be split into train and dev"
        )
    dev = {f"{row['1']}-{row['2']}" for _, row in read_tsv(path, columns=("1", "2"))}
    for row in _tsv_rows(folder / _RAW_TRAIN, labelled=True):
        if (row.id in dev) == (split == "dev"):
            yield row
