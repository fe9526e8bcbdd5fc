"""MultiMWA-MTRef: English sentence pairs with gold word alignments (Lan et al., ACL 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gmask_pl.data.jsonl import SUFFIXES, text_of
from gmask_pl.data.source import PARAPHRASE, Row, Source
from gmask_pl.data.split_files import need, read_jsonl, shown, where
from gmask_pl.types import UserError


class MWAMTRef(Source):
    """``dataset=mwa_mtref``: what a paraphrase classifier's word groups are compared with.

    Two translations of a sentence; the pairs have no class. Folder form: JSONL with
    ``alignments_sure``, lists [i, j] of positions in ``text.split()`` from 0.
    """

    labels = PARAPHRASE
    forms = (
        "{train,dev,test}.jsonl(.gz) with alignments_sure, which the authors publish at "
        "github.com/chaojiang06/neural-Jacana"
    )

    def folder_rows(self, folder: Path, split: str) -> Iterator[Row]:
        path = need(folder, *(split + suffix for suffix in SUFFIXES))
        for number, line in read_jsonl(path):
            place = where(path, number)
            id, text1, text2 = (text_of(line, name, place) for name in ("id", "text1", "text2"))
            yield Row(place, id, text1, text2, None, links=_links(line, place))


def _links(line: dict[str, Any], place: str) -> tuple[tuple[int, int], ...]:
    found = line.get("alignments_sure")
    if not isinstance(found, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(type(i) is int for i in pair)
        for pair in found
    ):
        raise UserError(f"{place}: alignments_sure is {shown(found)}, not a list of [i, j]")
    return tuple((first, second) for first, second in found)
