"""Words of the training split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gmask_pl.types import PairExample


def word_counts(examples: Iterable[PairExample]) -> Counter[str]:
    """How often each word occurs on either side of the examples (Appendix B)."""
    counts: Counter[str] = Counter()
    for example in examples:
        counts.update(example.words1)
        counts.update(example.words2)
    return counts
