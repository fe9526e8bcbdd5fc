"""The project's own file form: {train,dev,test}.jsonl(.gz) with id, text1, text2, label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gmask_pl.data.source import SPLITS, Marks, Row, Tokens
from gmask_pl.data.split_files import BrokenRow, fail, find, need, read_jsonl, shown, where
from gmask_pl.types import JSON, UserError

# JSON can name halves of characters, which are no text: no tokenizer or file takes them.
_LONE = re.compile("[\ud800-\udfff]")
SUFFIXES = (".jsonl", ".jsonl.gz")


def has_jsonl(folder: Path) -> bool:
    return find(folder, *(split + suffix for split in SPLITS for suffix in SUFFIXES)) is not None


def jsonl_rows(folder: Path, split: str) -> Iterator[Row]:
    """The rows of a split. Raises MissingSplit when the folder does not have it."""
    yield from file_rows(need(folder, *(split + suffix for suffix in SUFFIXES)))


def file_rows(
    path: Path, *, lenient: bool = False, broken: Callable[[BrokenRow], None] = fail
) -> Iterator[Row]:
    """The rows of one file of JSON Lines, see `rows_of`."""
    lines = ((where(path, number), number, line) for number, line in read_jsonl(path, broken))
    return rows_of(lines, lenient=lenient, broken=broken)


def rows_of(
    records: Iterable[tuple[str, int, JSON]],
    *,
    lenient: bool,
    broken: Callable[[BrokenRow], None],
    names: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Row]:
    """The rows of records, each with its place and number; null is an unknown label.

    ``highlights1`` and ``highlights2``, where given, hold a list per annotator of positions of
    ``text.split()``; null is a side nobody marked. lenient: the label may be left out, and the
    id too, for which the number stands in. ``broken`` gets the error of a record without two
    texts, and may raise it. names: what ``text1``, ``text2``, ``label`` and ``id`` are called.
    """
    for place, number, line in records:
        own = {key: line[name] for key, name in names.items() if name in line}
        line = {key: value for key, value in line.items() if key not in names} | own
        given = {"id": str(number), "label": None, **line} if lenient else line
        if lenient and given["id"] is None:
            given["id"] = str(number)
        if "label" not in given:
            raise UserError(f"{place}: no 'label' in {shown(line)}")
        try:
            text1, text2 = (text_of(given, name, place, names) for name in ("text1", "text2"))
        except BrokenRow as error:
            broken(error)
            continue
        id = text_of(given, "id", place)
        label = None if given["label"] is None else text_of(given, "label", place)
        yield Row(place, id, text1, text2, label, _marks(given, place))


def text_of(
    given: JSON, name: str, place: str, names: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The text under a name; numbers name ids and labels too. Raises BrokenRow where none is."""
    if name not in given:
        raise BrokenRow(place, f"no {names.get(name, name)!r} in {shown(given)}")
    value = given[name]
    if name in ("id", "label") and type(value) is int:
        return str(value)
    if value is None:  # an empty field of a table, too
        raise BrokenRow(place, f"{names.get(name, name)} is empty: give a text")
    if not isinstance(value, str):
        raise BrokenRow(place, f"{names.get(name, name)} is {shown(value)}, not a string")
    return whole_characters(value)


def whole_characters(text: str) -> str:
    """The text with a replacement character for every half of one."""
    return _LONE.sub("\ufffd", text)


def _marks(given: JSON, place: str) -> tuple[Marks, ...]:
    sides = [_side(given.get(name), name, place) for name in ("highlights1", "highlights2")]
    count = max(len(side or ()) for side in sides)
    first, second = ((None,) * count if side is None else side for side in sides)
    if len(first) != len(second):
        raise UserError(
            f"{place}: highlights of {len(first)} annotators in text 1, {len(second)} in text 2"
        )
    return tuple(zip(first, second, strict=True))


def _side(value: Any, name: str, place: str) -> tuple[Tokens, ...] | None:
    if value is None:
        return None
    lists = isinstance(value, list) and all(isinstance(marked, list) for marked in value)
    if not lists or not all(type(token) is int for marked in value for token in marked):
        raise UserError(f"{place}: {name} is {shown(value)}, not a list of lists of positions")
    return tuple(map(frozenset, value))
