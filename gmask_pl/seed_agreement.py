"""Whether explanations of a pair under several seeds say the same."""

from __future__ import annotations

from collections.abc import Sequence

from gmask_pl.explanation import Explanation


def disagreement(found: Sequence[Explanation]) -> str:
    """What explanations of one pair under several seeds do not agree on; "" where they do.

    They do where the word with the highest score is the same, and at least half of the words of
    the most important group are in it under every seed.
    """
    told = []
    if len({one.ranked()[0] for one in found}) > 1:
        told.append("the word with the highest score")
    groups = [one.word_groups[0].positions if one.word_groups else () for one in found]
    every = set(groups[0]).intersection(*groups)
    if 2 * len(every) < len(set(groups[0]).union(*groups)):
        told.append("the most important group")
    return f"unstable: {' and '.join(told)} changes with the seed" if told else ""
