"""Some pairs of a dataset, named by their texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gmask_pl.data.in_memory import texts_of
from gmask_pl.types import PairExample, PairSource, UserError


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
