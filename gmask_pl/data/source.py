"""What all datasets share: rows of any file form become checked examples, once per split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from gmask_pl.data.cleaning import Segment, find_words, highlighted_words
from gmask_pl.data.split_files import BrokenRow, MissingSplit, shown
from gmask_pl.settings import checked
from gmask_pl.types import Highlight, PairExample, UserError

SPLITS = ("train", "dev", "test")
PARAPHRASE = ("nonparaphrase", "paraphrase")
_HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}

# Highlighted positions of ``text.split()`` on both sides, of one annotator; None is unknown.
Tokens = frozenset[int] | None
Marks = tuple[Tokens, Tokens]


@dataclass(frozen=True, slots=True)
class Row:
    """A pair as a file or the hub holds it; ``place`` is its file and line.

    links: aligned positions of ``text.split()``, one of each side; None is unknown.
    """

    place: str
    id: str
    text1: str
    text2: str
    label: str | None
    marks: tuple[Marks, ...] = ()
    links: tuple[tuple[int, int], ...] | None = None


class Source(ABC):
    """Base of the datasets read from a folder or the hub. A types.PairSource.

    name: of the dataset. path: a local folder, or None for the hub. clean: as Appendix B does.
    A row with an empty side, or that a subclass hands to `leave_out`, is left out and told by
    `failed`. Raises UserError, with file, line and value, for everything else that is not a pair
    with a known label and an id of its own.
    """

    labels: tuple[str, ...]
    segment: Segment | None = None  # cuts texts into words, see `find_words`
    forms: str  # the files that a folder may hold, for messages

    @checked
    def __init__(self, *, name: str, path: str | None, clean: bool) -> None:
        self.name = name
        self.path = None if path is None else Path(path).expanduser()
        self.clean = clean
        self._splits: dict[str, list[PairExample]] = {}
        self._failed: dict[str, dict[str, str]] = {}

    def load(self, split: str) -> list[PairExample]:
        """The pairs of ``split`` (train, dev or test), read at the first call."""
        if split not in SPLITS:
            raise UserError(f"split={split!r}: there are {', '.join(SPLITS)}")
        if split not in self._splits:
            self._failed[split] = {}
            with self.telling(split):
                examples = list(self._examples(split))
            if not examples:
                raise self.holds_none(split, self._failed[split])
            self._splits[split] = examples
        return list(self._splits[split])

    @contextmanager
    def telling(self, split: str) -> Iterator[None]:
        """Within, a split that is not there is told with the forms that are."""
        try:
            yield
        except MissingSplit as error:
            raise MissingSplit(
                f"dataset.path={self.path}: no {split} split: {error}; {self.name} is read "
                f"from {self.forms}"
            ) from error

    def holds_none(self, split: str, failed: Mapping[str, str]) -> UserError:
        """The error of a split without pairs. failed: why its rows hold none, by their places."""
        first = next((f": {at}: {why}" for at, why in failed.items()), "")
        return UserError(f"{self.path or self.name}: the {split} split holds no pair{first}")

    def failed(self, split: str) -> dict[str, str]:
        """The places of the rows that hold no pair, and why; reads the split."""
        self.load(split)
        return dict(self._failed[split])

    def rows(self, split: str) -> Iterator[Row]:
        """The rows of a split, from the hub or from whichever form the folder holds."""
        return self.hub_rows(split) if self.path is None else self.folder_rows(self.folder(), split)

    def folder(self) -> Path:
        """The folder that the pairs are in. Raises UserError where there is none."""
        if self.path is None:
            raise self._needs_path()
        if not self.path.is_dir():
            found = "this is a file" if self.path.exists() else "there is no such file or folder"
            raise UserError(
                f"dataset.path={self.path}: {found}; {self.name} is read from a folder with "
                f"{self.forms}"
            )
        return self.path

    @abstractmethod
    def folder_rows(self, folder: Path, split: str) -> Iterator[Row]: ...

    def hub_rows(self, split: str) -> Iterator[Row]:
        """The rows of a split on the hub. Raises UserError for a dataset that is not there."""
        raise self._needs_path()

    def _needs_path(self) -> UserError:
        return UserError(f"dataset={self.name} needs dataset.path: a folder with {self.forms}")

    def leave_out(self, split: str, error: BrokenRow) -> None:
        self._failed[split][error.place] = error.reason

    def _examples(self, split: str) -> Iterator[PairExample]:
        seen: dict[str, str] = {}
        for row in self.rows(split):
            try:
                example = to_example(row, self.labels, clean=self.clean, segment=self.segment)
            except BrokenRow as error:
                self.leave_out(split, error)
                continue
            if row.id in seen:
                raise UserError(f"{row.place}: id {shown(row.id)} is taken by {seen[row.id]}")
            seen[row.id] = row.place
            yield example


def to_example(
    row: Row, labels: Sequence[str], *, clean: bool, segment: Segment | None = None
) -> PairExample:
    """The example of a row.

    segment: cuts texts into words, see `find_words`. Raises BrokenRow for a side that is empty or
    that cannot be cut into words, UserError for a bad value.
    """
    if row.label is not None and row.label not in labels:
        known = (
            f"there are {', '.join(labels)}" if labels else "name labels by dataset.labels=[...]"
        )
        raise UserError(f"{row.place}: label {shown(row.label)} is unknown; {known}")
    try:
        text1, spans1 = find_words(row.text1, clean=clean, segment=segment)
        text2, spans2 = find_words(row.text2, clean=clean, segment=segment)
    except UserError as error:
        raise BrokenRow(row.place, str(error)) from error
    for side, (raw, spans) in enumerate(((row.text1, spans1), (row.text2, spans2)), start=1):
        if not spans:
            why = " once cleaned (dataset.clean=false keeps all characters)" if raw.strip() else ""
            raise BrokenRow(row.place, f"text {side} is empty{why}: {shown(raw)}")
    words = partial(_words, row, clean=clean, segment=segment)
    return PairExample(
        id=row.id,
        text1=text1,
        text2=text2,
        spans1=spans1,
        spans2=spans2,
        label=None if row.label is None else labels.index(row.label),
        highlights=tuple(_highlight(row, marks, words) for marks in row.marks),
        alignments=None if row.links is None else _alignments(row, row.links, words),
    )


def hub_records(
    repository: str, config: str | None, split: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Records of a split on the Hugging Face hub, each with its place for messages.

    By the optional package ``datasets``. Raises UserError where they cannot be had.
    """
    try:
        import datasets

        records = datasets.load_dataset(repository, config, split=_HUB_SPLITS[split])
    # Missing package, no network, a removed repository, a full disk: all have one way out.
    except Exception as error:
        raise UserError(
            f"{repository} cannot be fetched from the Hugging Face hub "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason'})"
            "; set dataset.path to a folder that holds the data"
            + ("" if not isinstance(error, ImportError) else ", or install the extra 'hub'")
        ) from error
    for number, record in enumerate(records):
        yield f"{repository} {split} {number}", record


def hub_label(index: int, names: tuple[str, ...], place: str) -> str | None:
    """The name of a label index; -1 is an unknown label."""
    if index == -1:
        return None
    if not 0 <= index < len(names):
        raise UserError(f"{place}: label {index} is unknown; there are 0 to {len(names) - 1}")
    return names[index]


def paraphrase_label(value: str, place: str) -> str:
    """The label name of the 0 or 1 that paraphrase sets are published with."""
    if value not in ("0", "1"):
        raise UserError(f"{place}: label {shown(value)} is unknown; there are 0 and 1")
    return PARAPHRASE[int(value)]


def placed(tokens: Iterable[int], text: str) -> Tokens:
    """Published highlights of ``text``; unknown where they do not fit it.

    A few of e-SNLI's count the empty strings between double spaces, so they name no word.
    """
    found = frozenset(tokens)
    return found if all(0 <= token < len(text.split()) for token in found) else None


_Words = Callable[[str, Iterable[int]], frozenset[int]]  # of tokens of a text


def _highlight(row: Row, marks: Marks, words: _Words) -> Highlight:
    first, second = (
        None if tokens is None else words(text, tokens)
        for text, tokens in zip((row.text1, row.text2), marks, strict=True)
    )
    return Highlight(first, second)


def _alignments(
    row: Row, links: Iterable[tuple[int, int]], words: _Words
) -> frozenset[tuple[int, int]]:
    """Links of tokens as links of words: every word of the one with every word of the other."""
    return frozenset(
        pair
        for first, second in links
        for pair in product(words(row.text1, [first]), words(row.text2, [second]))
    )


def _words(
    row: Row, text: str, tokens: Iterable[int], *, clean: bool, segment: Segment | None
) -> frozenset[int]:
    try:
        return highlighted_words(text, tokens, clean=clean, segment=segment)
    except IndexError as error:
        raise UserError(f"{row.place}: {error}: {shown(text)}") from error
