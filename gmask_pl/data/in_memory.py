"""Pairs that are handed over as texts, from Python or on the command line, or named by them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gmask_pl.data.cleaning import Segment, check_cut
from gmask_pl.data.jsonl import whole_characters
from gmask_pl.data.source import Row, to_example
from gmask_pl.data.split_files import BrokenRow, need_columns, shown
from gmask_pl.explanation import Explanation
from gmask_pl.types import PairExample, PairSource, UserError

Texts = tuple[str | None, str | None]  # None: missing

_SHOWN = 3  # pairs in a message
_HOW = "give a list of pairs of strings, [(text1, text2), ...]"


@dataclass(frozen=True, slots=True)
class Handed:
    """Pairs as they were handed over.

    texts: None for one that is missing (None, or NaN as pandas has it). ids, labels: as a table has
    them, see `own_ids` and `class_numbers`; None where there is none.
    """

    texts: list[Texts]
    ids: list[Any]
    labels: list[Any]


def texts_of(pairs: Any, text1: str | None = None, text2: str | None = None) -> list[Texts]:
    """The two texts of every pair, see `handed`."""
    return handed(pairs, text1, text2).texts


def handed(
    pairs: Any,
    text1: str | None = None,
    text2: str | None = None,
    id: str | None = None,
    label: str | None = None,
    *,
    labelled: bool = True,
) -> Handed:
    """What is known of the pairs that somebody hands over.

    pairs: a list of pairs, whatever gives pairs one after the other, or a table with a column for
    each text: a DataFrame of pandas or polars, a Table of pyarrow, a Dataset of datasets, or what
    gives itself as a stream of Arrow's. text1, text2, id, label: the names of its columns; None:
    as these are called, of the last two where there are such columns. labelled: read labels.

    Raises UserError for what is none of these, and with the positions, counted from 1, of what is
    no pair of strings.
    """
    if hasattr(pairs, "__arrow_c_stream__") and _columns(pairs) is None:
        import pyarrow as pa  # of those alone who have such a table

        pairs = pa.table(pairs)
    ids: list[Any] = []
    labels: list[Any] = []
    if (columns := _columns(pairs)) is not None:
        names = (text1 or "text1", text2 or "text2")
        asked = [name for name in (id, label) if name is not None]
        need_columns("pairs", columns, [*names, *asked])
        table = pairs
        try:
            pairs = list(zip(*(_values(table[name]) for name in names), strict=True))
            if (id or "id") in columns:
                ids = _values(table[id or "id"])
            if labelled and (label or "label") in columns:
                labels = _values(table[label or "label"])
        except TypeError as error:  # as of a polars.LazyFrame
            reason = " ".join(str(error).split())
            raise UserError(
                f"pairs: {_told(table)} has no columns of texts yet ({reason})"
            ) from None
    elif given := [
        f"{key}={name}"
        for key, name in {"text1": text1, "text2": text2, "id": id, "label": label}.items()
        if name is not None
    ]:
        raise UserError(f"{', '.join(given)}: these are columns of a table, and {_HOW}")
    if isinstance(pairs, str | bytes | Mapping | set | frozenset):
        raise UserError(f"pairs: {_told(pairs)}: {_HOW}")
    try:
        every = list(pairs)
    except TypeError:
        raise UserError(f"pairs: {_told(pairs)}: {_HOW}") from None
    if len(every) == 2 and all(isinstance(text, str) for text in every):
        raise UserError(f"pairs: {shown(pairs)} is one pair by itself: {_HOW}")
    wrong = {i: why for i, pair in enumerate(every, start=1) if (why := _no_pair(pair))}
    if wrong:
        first = [f"pair {i}: {why}" for i, why in list(wrong.items())[:_SHOWN]]
        more = [f"{len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise UserError(f"{'; '.join(first + more)}: {_HOW}")
    return Handed(
        texts=[(_text(one), _text(two)) for one, two in every],
        ids=ids or [None] * len(every),
        labels=labels or [None] * len(every),
    )


def own_ids(given: Sequence[Any]) -> list[str]:
    """The ids as texts, the position from 1 of a pair without any. Raises UserError for equals."""
    places: dict[str, int] = {}
    for place, value in enumerate(given, start=1):
        id = str(place if _is_missing(value) else _whole(value))
        if id in places:
            raise UserError(
                f"pairs: id {shown(id)} is that of pair {places[id]} and of pair {place}: give "
                "each an id of its own, or leave the column out"
            )
        places[id] = place
    return list(places)


def class_numbers(given: Sequence[Any], labels: Sequence[str]) -> list[int | None]:
    """The numbers of known classes, which are told by name or number; None is unknown, as is -1.

    Raises UserError for what is no class.
    """
    found: list[int | None] = []
    for place, value in enumerate(given, start=1):
        label = None if _is_missing(value) else _whole(value)
        if label is None or label == -1:
            found.append(None)
        elif str(label) in labels:
            found.append(labels.index(str(label)))
        elif isinstance(label, int) and 0 <= label < len(labels):
            found.append(label)
        else:
            raise UserError(
                f"pairs: the label of pair {place} is {shown(value)}, and the model's labels are "
                f"{', '.join(labels)}: give these or their numbers, null where it is not known, or "
                "leave the column out"
            )
    return found


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _whole(value: Any) -> Any:
    """A number of NumPy as Python has it; a whole one is no fraction, as beside NaN in pandas."""
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _columns(table: Any) -> list[str] | None:
    """The names of the columns of a table; None for what is none."""
    names = getattr(table, "column_names", None)  # of pyarrow and datasets
    if names is None and hasattr(table, "columns") and hasattr(table, "__getitem__"):
        names = table.columns
    return None if names is None or isinstance(names, Mapping) else [str(name) for name in names]


def _values(column: Any) -> list[Any]:
    to_list = getattr(column, "to_pylist", None) or getattr(column, "to_list", None)
    found = list(column) if to_list is None else to_list()
    # pandas has a value of its own for what is missing.
    return [None if type(value).__name__ == "NAType" else value for value in found]


class Given:
    """Pairs of texts as a data set whose only split is test. A types.PairSource.

    segment: cuts texts into words, see `find_words`. unread: why pairs have no example, by their
    positions from 0; the id of one that has is its position from 1.
    """

    def __init__(
        self,
        pairs: Iterable[Texts],
        labels: tuple[str, ...],
        *,
        clean: bool,
        segment: Segment | None = None,
    ) -> None:
        check_cut(clean=clean, segment=segment)
        self.labels = labels
        self.pairs: list[PairExample] = []
        self.unread: dict[int, str] = {}
        for i, (text1, text2) in enumerate(pairs):
            if text1 is None or text2 is None:
                self.unread[i] = f"text {1 if text1 is None else 2} is missing"
                continue
            try:
                row = Row(f"pair {i + 1}", str(i + 1), text1, text2, None)
                self.pairs.append(to_example(row, labels, clean=clean, segment=segment))
            except BrokenRow as error:
                self.unread[i] = error.reason

    def load(self, split: str) -> list[PairExample]:
        return self.pairs

    def failed(self, split: str) -> dict[str, str]:
        return {}


def in_full(found: Explanation, given: Texts, *, clean: bool) -> Explanation:
    """With the texts as they were given, and spans into them.

    The model reads them without the white space at their ends. Of a clean text other characters
    are gone as well: there it stays what the model read.
    """
    own: dict[str, Any] = {}
    for side, text in enumerate(given, start=1) if not clean else ():
        read, spans = getattr(found, f"text{side}"), getattr(found, f"spans{side}")
        if text is not None and (start := text.find(read)) >= 0:
            own[f"text{side}"] = text
            own[f"spans{side}"] = tuple((one + start, two + start) for one, two in spans)
    return replace(found, **own)


class OnlyPairs:
    """A dataset one split of which holds only given pairs. A types.PairSource.

    pairs: two texts each, compared by their words: case, punctuation and spaces do not matter.
    Pairs that are not there are left out; UserError where none is.
    """

    def __init__(self, source: PairSource, split: str, pairs: Sequence[Sequence[str]]) -> None:
        self.source, self.labels, self.split = source, source.labels, split
        self.wanted = set()
        for number, (text1, text2) in enumerate(texts_of(pairs), start=1):
            if text1 is None or text2 is None:
                raise UserError(f"pairs: pair {number}: text {1 if text1 is None else 2} is null")
            self.wanted.add((words_of(text1), words_of(text2)))

    def load(self, split: str) -> list[PairExample]:
        examples = self.source.load(split)
        if split != self.split:
            return examples
        found = [e for e in examples if (words_of(e.text1), words_of(e.text2)) in self.wanted]
        if not found:
            raise UserError(f"pairs: none of the {len(self.wanted)} is in the {split} split")
        return found

    def failed(self, split: str) -> dict[str, str]:
        return self.source.failed(split)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, without what is between them."""
    return tuple(re.findall(r"\w+", text.lower()))


def _no_pair(pair: Any) -> str:
    """Why something is no pair of strings; "" where it is one."""
    if not isinstance(pair, Sequence) or isinstance(pair, str | bytes):
        return _told(pair)
    if len(pair) != 2:
        return f"{shown(list(pair))} has {len(pair)} parts"
    sides = enumerate(pair, start=1)
    return next((f"text {side} is {_told(text)}" for side, text in sides if not _is_text(text)), "")


def _is_text(text: Any) -> bool:
    return _is_missing(text) or isinstance(text, str)


def _text(text: Any) -> str | None:
    return whole_characters(str(text)) if isinstance(text, str) else None


def _told(value: Any) -> str:
    """A value with the name of its type; of a large one the type alone."""
    if value is None:
        return "None"
    kind = type(value).__name__
    if isinstance(value, str | bytes | int | float | Mapping | Sequence):
        return f"{shown(value)} ({kind})"
    return f"a {kind}"
