"""Quora question pairs in the partition of Wang et al. 2017."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gmask_pl.data.jsonl import has_jsonl, jsonl_rows
from gmask_pl.data.source import PARAPHRASE, Row, Source, paraphrase_label
from gmask_pl.data.split_files import need, read_tsv, where
from gmask_pl.types import UserError


class Quora(Source):
    """``dataset=quora``. Folder forms: JSONL, the published {train,dev,test}.tsv.

    This partition is published as an archive, not as a dataset of the hub, so a path is needed.
    """

    labels = PARAPHRASE
    forms = "{train,dev,test}.jsonl(.gz) or {train,dev,test}.tsv"

    def folder_rows(self, folder: Path, split: str) -> Iterator[Row]:
        return jsonl_rows(folder, split) if has_jsonl(folder) else _tsv_rows(folder, split)

    def hub_rows(self, split: str) -> Iterator[Row]:
        raise UserError(
            "dataset.path is not set, and the hub does not have Wang et al.'s partition of Quora; "
            "set dataset.path to the folder with their train.tsv, dev.tsv and test.tsv"
        )


def _tsv_rows(folder: Path, split: str) -> Iterator[Row]:
    path = need(folder, f"{split}.tsv")
    for number, fields in read_tsv(path, columns=("label", "text1", "text2", "id")):
        place = where(path, number)
        label = paraphrase_label(fields["label"], place)
        yield Row(place, fields["id"], fields["text1"], fields["text2"], label)
