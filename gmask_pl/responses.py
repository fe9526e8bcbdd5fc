"""What a model said of masked forms of one pair, kept for whoever asks later."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np


@dataclass(frozen=True, eq=False)
class Responses:
    """The masks that a model was asked about, and its answers.

    - words: how many words the pair has, of both sides.
    - masks (n, words / 8) uint8: the words that each mask keeps, eight a byte, the first word in
      the highest bit.
    - values (n,) float32: the number that is asked for. same (n,) bool: whether the decision is
      that of the whole pair. probabilities (n, C) float32: of all classes or labels, C = 0 of a
      score.

    >>> from gmask_pl import PairExplainer
    >>> explain = PairExplainer(lambda pairs: [float("dog" in a) for a, _ in pairs])
    >>> found = explain("the dog", "a cat").responses
    >>> found.value({1}), found.value({0, 2, 3}), found.value(())
    (1.0, 0.0, 0.0)
    """

    words: int
    masks: np.ndarray
    values: np.ndarray
    same: np.ndarray
    probabilities: np.ndarray

    @classmethod
    def of(
        cls, kept: np.ndarray, values: np.ndarray, same: np.ndarray, probabilities: np.ndarray
    ) -> Responses:
        """Of the words of each mask, kept (n, words) bool, and the answers as they are held.

        >>> import numpy as np
        >>> from gmask_pl import Responses
        >>> kept, values = np.array([[True, False]]), np.ones(1, dtype=np.float32)
        >>> Responses.of(kept, values, values > 0, np.zeros((1, 0), np.float32)).value({0})
        1.0
        """
        masks = np.packbits(kept, axis=1)
        return cls(kept.shape[1], masks, values, same, probabilities)

    def __len__(self) -> int:
        return len(self.masks)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Responses):
            return NotImplemented
        return self.words == other.words and all(
            np.array_equal(one, another)
            for one, another in zip(self._arrays, other._arrays, strict=True)
        )

    def __hash__(self) -> int:
        return hash((self.words, self.masks.tobytes()))

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.masks, self.values, self.same, self.probabilities

    @property
    def kept(self) -> np.ndarray:
        """The words that each mask keeps, (n, words) bool."""
        return np.unpackbits(self.masks, axis=1, count=self.words).astype(bool)

    @cached_property
    def _rows(self) -> dict[bytes, int]:
        return {mask.tobytes(): row for row, mask in enumerate(self.masks)}

    def find(self, words: Iterable[int]) -> int | None:
        """The row of the mask that keeps exactly these words; None: it was not asked.

        words: positions in the joint order.
        """
        kept = np.zeros(self.words, dtype=bool)
        kept[list(words)] = True
        return self._rows.get(np.packbits(kept).tobytes())

    def value(self, words: Iterable[int]) -> float | None:
        """The number that is asked for, where only these words are kept; None: it was not asked."""
        row = self.find(words)
        return None if row is None else float(self.values[row])

    def table(self, words: Sequence[int], *, others: Collection[int] = ()) -> np.ndarray | None:
        """The rows of all subsets of some words, (2^k,), beside others that are always kept.

        The first word has the highest bit, so row 1 keeps the last word. None where the model was
        not asked about one of them.
        """
        if 2 ** len(words) > len(self):
            return None
        kept = np.zeros((2 ** len(words), self.words), dtype=bool)
        kept[:, list(words)] = list(product((False, True), repeat=len(words)))
        kept[:, list(others)] = True
        rows = [self._rows.get(mask.tobytes()) for mask in np.packbits(kept, axis=1)]
        known = [row for row in rows if row is not None]
        return np.array(known) if len(known) == len(rows) else None
