"""Lines and rows of the text files that datasets are published in, with errors that say where."""

from __future__ import annotations

import csv
import difflib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gmask_pl.files import open_lines
from gmask_pl.types import JSON, UserError

Fields = dict[str, str]


class MissingSplit(UserError):
    """The data on disk is readable but does not hold the split that was asked for."""


class BrokenRow(UserError):
    """A row that holds no pair: a wrong number of fields, or an empty side. place: where it is."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place, self.reason = place, reason


def fail(error: UserError) -> None:
    raise error


def where(path: Path, line: int) -> str:
    return f"{path}:{line}"


def shown(value: object, width: int = 80) -> str:
    """A value for a message: quoted, and cut when it is long."""
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def find(folder: Path, *names: str) -> Path | None:
    """The first of the names that the folder holds."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def need(folder: Path, *names: str) -> Path:
    """The first of the names that the folder holds; raises MissingSplit when it has none."""
    path = find(folder, *names)
    if path is None:
        raise MissingSplit(f"no {' or '.join(names)}")
    return path


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines (from 1) of a UTF-8 file, gzipped when its name ends in .gz.

    A byte order mark goes. Raises UserError for a file that cannot be read so.
    """
    number = 0
    try:
        with open_lines(path, "utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\r\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"{where(path, number + 1)}: cannot be read: {error}") from error


def read_jsonl(
    path: Path, broken: Callable[[BrokenRow], None] = fail
) -> Iterator[tuple[int, JSON]]:
    """Numbered objects of a JSON Lines file; blank lines are skipped.

    ``broken`` gets the error of a line that is no JSON object, and may raise it.
    """
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            broken(BrokenRow(where(path, number), f"not JSON ({error}): {shown(line)}"))
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            broken(BrokenRow(where(path, number), f"not a JSON object: {shown(line)}"))


def read_tsv(
    path: Path, columns: Sequence[str] | None = None, broken: Callable[[BrokenRow], None] = fail
) -> Iterator[tuple[int, Fields]]:
    """Numbered rows of a tab-separated file without quoting, one line each.

    columns: names for a file without a header line; otherwise the first line names them.
    ``broken`` gets the error of a line with another number of fields, and may raise it.
    """
    for number, line in read_lines(path):
        fields = line.split("\t")
        if columns is None:
            columns = fields
        elif len(fields) == len(columns):
            yield number, dict(zip(columns, fields, strict=True))
        else:
            message = f"{len(fields)} tab-separated fields, not {len(columns)}: {shown(line)}"
            broken(BrokenRow(where(path, number), message))


def read_csv(path: Path) -> Iterator[tuple[int, Fields]]:
    """Numbered rows of a comma-separated file with a header and standard quoting.

    The number is that of the row's last line. Raises UserError for a row with too few or too
    many fields.
    """
    reader = csv.DictReader((line + "\n" for _, line in read_lines(path)), strict=True)
    try:
        for fields in reader:
            if None in fields or None in fields.values():
                expected = len(reader.fieldnames or ())
                raise BrokenRow(
                    where(path, reader.line_num),
                    f"not {expected} comma-separated fields: {shown(list(fields.values()))}",
                )
            yield reader.line_num, fields
    except csv.Error as error:
        raise UserError(f"{where(path, reader.line_num)}: not CSV: {error}") from error


def column(row: Fields, name: str, place: str) -> str:
    """The field of a column; raises UserError when the file does not have it."""
    if name not in row:
        raise UserError(f"{place}: no column {name!r}; there are {', '.join(map(repr, row))}")
    return row[name]


def need_columns(place: str, found: Sequence[str], columns: Sequence[str]) -> None:
    """Raises UserError for a column that is not there, with those that are."""
    for column in columns:
        if column not in found:
            near = difflib.get_close_matches(column, found)
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UserError(
                f"{place}: no column {column!r}{meant or '.'} There are "
                f"{', '.join(map(shown, found[:20]))}: name those of the texts by text1 and text2 "
                "(dataset.text1=COLUMN in a command)"
            )
