"""The mathematics of agreement between word scores and a set of words known to matter.

Words are positions; ``scores`` maps each position that takes part to its score.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

Scores = Mapping[int, float]


def top_words(scores: Scores, m: int) -> frozenset[int]:
    """The m words with the highest scores; of equal scores the earlier position goes first."""
    return frozenset(sorted(scores, key=lambda word: (-scores[word], word))[:m])


def average_precision(scores: Scores, known: Set[int]) -> float:
    """Area under the precision-recall curve as sum_t (R_t - R_{t-1}) P_t, in (0, 1].

    t runs over the distinct scores from the highest, so equal scores enter together and their
    order does not matter. Raises ValueError where no word that takes part is known to matter.
    """
    positives = known & scores.keys()
    if not positives:
        raise ValueError("average precision needs at least one known word")
    levels: dict[float, list[int]] = {}
    for word, score in scores.items():
        levels.setdefault(score, []).append(word)
    seen = hits = 0
    area = 0.0
    for score in sorted(levels, reverse=True):
        found = sum(word in positives for word in levels[score])
        seen, hits = seen + len(levels[score]), hits + found
        area += found / len(positives) * hits / seen
    return area


def spans(words: Set[int], n1: int) -> list[range]:
    """The maximal runs of neighbouring words, none across the border before position n1."""
    found: list[range] = []
    for word in sorted(words):
        if found and found[-1].stop == word and word != n1:
            found[-1] = range(found[-1].start, word + 1)
        else:
            found.append(range(word, word + 1))
    return found


def span_matches(predicted: list[range], known: list[range], threshold: float) -> int:
    """How many predicted spans have an intersection over union >= threshold with a known one."""
    return sum(any(_iou(p, k) >= threshold for k in known) for p in predicted)


def _iou(one: range, two: range) -> float:
    shared = max(0, min(one.stop, two.stop) - max(one.start, two.start))
    return shared / (len(one) + len(two) - shared)
