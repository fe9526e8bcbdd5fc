"""Which words, and which two words across the texts, carry the decisions of a data set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from itertools import product

from gmask_pl.explanation import Explanation

SHOWN = 8  # rows of a table
EXAMPLES = 3
_LEAST = 2  # pairs in which something must be, to be told


@dataclass(frozen=True, slots=True)
class Row:
    """words: one, or one of each text; count: pairs of the class that they carry; examples: the
    places of the first in the file."""

    words: tuple[str, ...]
    count: int
    examples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """Of the pairs of one predicted class: how many there are, and the most frequent rows."""

    label: int
    pairs: int
    words: tuple[Row, ...]
    across: tuple[Row, ...]


@dataclass(slots=True)
class Summary:
    """Counts over explanations as they come.

    A word carries a decision if it is in the pair's most important group, or has the highest score
    where the method finds no groups. Words are compared in lower case, and counted once a pair.
    """

    pairs: Counter[int] = field(default_factory=Counter)
    found: dict[tuple[int, int], dict[Hashable, list[int]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, e: Explanation) -> None:
        place = self.pairs.total()
        self.pairs[e.prediction] += 1
        sides = _carriers(e)
        for word in sorted({*sides[0], *sides[1]}):
            self.found[e.prediction, 1][(word,)].append(place)
        for two in sorted(set(product(*sides))):
            self.found[e.prediction, 2][two].append(place)

    def classes(self) -> Iterator[ClassSummary]:
        """Those with something to tell, in the order of the labels."""
        for label, pairs in sorted(self.pairs.items()):
            words, across = (tuple(self._rows(label, size)) for size in (1, 2))
            if words or across:
                yield ClassSummary(label, pairs, words, across)

    def _rows(self, label: int, size: int) -> Iterator[Row]:
        counted = self.found.get((label, size), {})
        often = sorted(counted.items(), key=lambda one: (-len(one[1]), one[0]))
        for words, places in often[:SHOWN]:
            if len(places) >= _LEAST and isinstance(words, tuple):
                yield Row(words, len(places), tuple(places[:EXAMPLES]))


def _carriers(e: Explanation) -> tuple[list[str], list[str]]:
    groups = e.word_groups
    if groups:
        positions = groups[0].positions
    else:
        positions = tuple(word for word in e.ranked()[:1] if e.scores[word] > 0)
    n1 = len(e.words1)
    one = [e.words[word].lower() for word in positions if word < n1]
    return one, [e.words[word].lower() for word in positions if word >= n1]
