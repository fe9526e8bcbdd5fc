"""Records of the file forms that tables come in: CSV, TSV, JSON, JSON Lines and Parquet."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from gmask_pl.data.jsonl import SUFFIXES
from gmask_pl.data.split_files import BrokenRow, fail, need_columns, read_jsonl, shown, where
from gmask_pl.files import open_lines
from gmask_pl.types import JSON, UserError

FORMS = (*SUFFIXES, ".json", ".json.gz", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
STDIN = "-"
Broken = Callable[[BrokenRow], None]
Records = Iterator[tuple[str, int, JSON]]  # the place of each, its number from 1, its fields
_BATCH = 1024  # rows of a Parquet file that are read at once


def records(path: Path, columns: Sequence[str], broken: Broken = fail) -> Records:
    """The records of a file, by its ending; of standard input for ``-``.

    columns: those that a file with a header must have. ``broken`` gets the error of a line that
    holds no record, and may raise it. Raises UserError for another ending, for what cannot be read,
    and for a header without these columns.
    """
    name = path.name
    if name == STDIN:
        yield from _of_stdin(columns, broken)
    elif name.endswith(SUFFIXES):
        for number, fields in read_jsonl(path, broken):
            yield where(path, number), number, fields
    elif name.endswith((".json", ".json.gz")):
        with _opened(path) as file:
            yield from _of_array(str(path), file)
    elif name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        with _opened(path) as file:
            yield from _of_csv(str(path), file, "\t" if ".tsv" in name else ",", columns, broken)
    elif name.endswith(".parquet"):
        yield from _of_parquet(path, columns)
    else:
        raise UserError(f"dataset.path={path}: files of pairs end in {', '.join(FORMS)}")


def place_of(path: Path) -> str:
    """What messages call a file of pairs."""
    return "standard input" if path.name == STDIN else str(path)


def complete(found: Records, place: str, columns: Sequence[str]) -> Records:
    """The same records. Raises UserError, in the end, for a column that none of them has."""
    known: dict[str, None] = {}
    missing = set(columns)
    for record in found:
        if missing:
            known |= dict.fromkeys(record[2])
            missing -= known.keys()
        yield record
    if known:
        need_columns(place, list(known), columns)


def _opened(path: Path) -> TextIO:
    try:
        return open_lines(path, "utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


_read: list[tuple[TextIO, bytes]] = []  # standard input, and what it held


def _standard_input() -> str:
    """The text of standard input, read once: every run of this process sees the same.

    Raises UserError where there is none: a process beside the one that was started has an empty
    one, or finds that the other has read it.
    """
    try:
        if not _read or _read[0][0] is not sys.stdin:
            _read[:] = [(sys.stdin, sys.stdin.buffer.read())]
        text = _read[0][1].decode("utf-8-sig")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"standard input cannot be read: {error}") from error
    if not text.strip():
        raise UserError(
            f"dataset.path={STDIN}: standard input is empty. Of several processes, such as those "
            "of hydra/launcher=joblib or of several devices, one alone can read it: give a file, "
            "dataset.path=my.csv"
        )
    return text


def _of_stdin(columns: Sequence[str], broken: Broken) -> Records:
    text = _standard_input()
    place, first = place_of(Path(STDIN)), text.lstrip()[:1]
    if first == "[":
        yield from _of_array(place, io.StringIO(text))
    elif first == "{":
        # Not by splitlines, for which U+2028 and others within a text end a line, too.
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                at = f"{place}:{number}"
                try:
                    fields = json.loads(line)
                except (ValueError, RecursionError) as error:
                    broken(BrokenRow(at, f"not JSON ({error}): {shown(line)}"))
                    continue
                if isinstance(fields, dict):
                    yield at, number, fields
                else:
                    broken(BrokenRow(at, f"not a JSON object: {shown(line)}"))
    else:
        separator = "\t" if "\t" in text.partition("\n")[0] else ","
        yield from _of_csv(place, io.StringIO(text, newline="\n"), separator, columns, broken)


def _of_array(place: str, file: TextIO) -> Records:
    try:
        found = json.load(file)
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{place}: not JSON: {error}") from error
    if not isinstance(found, list):
        raise UserError(f'{place}: holds no list of pairs, [{{"text1": ..., ...}}, ...]')
    for number, fields in enumerate(found, start=1):
        at = f"{place}, item {number}"
        if not isinstance(fields, dict):
            raise UserError(f"{at}: {shown(fields)} is no JSON object")
        yield at, number, fields


def _of_csv(
    place: str, file: TextIO, separator: str, columns: Sequence[str], broken: Broken
) -> Records:
    lines = (line.replace("\0", "\ufffd") for line in file)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        header = next(reader, [])
        need_columns(place, header, columns)
        for fields in reader:
            at = f"{place}:{reader.line_num}"
            if len(fields) == len(header):
                # An empty field is a missing one.
                named = zip(header, fields, strict=True)
                yield at, reader.line_num, {key: value or None for key, value in named}
            elif fields:
                told = f"{len(fields)} fields, and {len(header)} columns: {shown(fields)}"
                broken(BrokenRow(at, told))
    except (csv.Error, UnicodeDecodeError, OSError, EOFError) as error:
        raise UserError(f"{place}:{reader.line_num + 1}: cannot be read: {error}") from error


def _of_parquet(path: Path, columns: Sequence[str]) -> Records:
    try:
        with pq.ParquetFile(path) as file:
            need_columns(str(path), file.schema_arrow.names, columns)
            number = 0
            for batch in file.iter_batches(_BATCH):
                for fields in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", number, fields
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet: {error}") from error
