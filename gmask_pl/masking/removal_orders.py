"""The best and the worst order in which words can be removed: the bounds of AOPC (Eq. 9).

What is left of a pair depends on the set of removed words alone, so of all orders that remove the
same set only the best need be followed. Level by level, the sets of u words are made of those of
u - 1, and the model is asked about each once. Keeping every set is dynamic programming over
subsets, which is exact; keeping the best few is beam search, which finds an attainable value but
perhaps not the extreme one (Edin et al., 2025, "Normalized AOPC", for the bounds).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

HIGHEST, LOWEST = 1, -1
GOALS = {"highest": HIGHEST, "lowest": LOWEST}
TIE = 1e-5  # sums of probabilities closer than this are equal: batches differ in rounding

Ask = Callable[[Tensor], Tensor]
Order = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Extreme:
    """The order found for one pair and one goal.

    order: the min(U, n) words to remove, the first first; area: its summand of Eq. 9; exact:
    whether every order was considered.
    """

    order: Order
    area: float
    exact: bool


@dataclass(frozen=True, slots=True)
class _State:
    """A set of removed words (bit w of ``key`` is word w), by the best order known to reach it."""

    rank: int
    order: Order
    key: int
    total: float


def extreme_orders(
    ask: Ask,
    valid: Tensor,
    whole: Tensor,
    goals: Sequence[int],
    *,
    max_removed: int,
    beam: int,
    exact_words: int,
) -> list[tuple[Extreme, ...]]:
    """For each pair, the order of each goal: HIGHEST or LOWEST sum of p(y|x) - p(y|x without R).

    ask: keep-masks (B, S, W) bool to p(y|.) (B, S), y being the class predicted on the whole
    pair; it is asked U times, each time for all pairs and goals. valid (B, W) bool; whole (B,):
    p(y|x). max_removed: U; as in AOPC, the empty pair is asked about again for every u beyond
    the n words of a pair. Pairs of at most ``exact_words`` words are searched whole, the others
    with ``beam`` sets a level and goal. Of equal sums (see TIE) the order that removes the
    earlier word first is taken.
    """
    words = [row.nonzero().flatten().tolist() for row in valid.cpu()]
    sure = whole.double().tolist()
    beams = [[[_State(0, (), 0, 0.0)] for _ in goals] for _ in words]
    for _ in range(max_removed):
        asked = [_next_sets(*row) for row in zip(beams, words, strict=True)]
        answers = _answers(ask, valid, asked)
        for row, present in enumerate(words):
            drops = {key: sure[row] - p for key, p in zip(asked[row], answers[row], strict=False)}
            width = None if len(present) <= exact_words else beam
            beams[row] = [
                _step(states, present, drops, goal, width)
                for states, goal in zip(beams[row], goals, strict=True)
            ]
    found = []
    for present, final in zip(words, beams, strict=True):
        best = [min(states, key=_preference) for states in final]
        exact = len(present) <= exact_words
        found.append(tuple(Extreme(b.order, b.total / (max_removed + 1), exact) for b in best))
    return found


def _next_sets(beams: list[list[_State]], words: list[int]) -> dict[int, Order]:
    """Every set one word larger than those of any beam, as its key and some order of its words."""
    return {key: order for beam in beams for state in beam for key, order in _larger(state, words)}


def _larger(state: _State, words: list[int]) -> list[tuple[int, Order]]:
    """The sets one word larger than the state's; the state's own where no word is left."""
    left = [word for word in words if not state.key >> word & 1]
    return [(state.key | 1 << word, (*state.order, word)) for word in left] or [
        (state.key, state.order)
    ]


def _step(
    beam: list[_State], words: list[int], drops: dict[int, float], goal: int, width: int | None
) -> list[_State]:
    """The best way to each set one word larger, and of these sets the best ``width``."""
    best: dict[int, _State] = {}
    for state in beam:
        for key, order in _larger(state, words):
            total = state.total + drops[key]
            found = _State(-goal * round(total / TIE), order, key, total)
            if key not in best or _preference(found) < _preference(best[key]):
                best[key] = found
    if width is None or len(best) <= width:
        return list(best.values())
    return sorted(best.values(), key=_preference)[:width]


def _preference(state: _State) -> tuple[int, Order]:
    return state.rank, state.order


def _answers(ask: Ask, valid: Tensor, asked: Sequence[dict[int, Order]]) -> list[list[float]]:
    """p(y|x without R) of every set R; pairs with fewer sets than others repeat their first."""
    keep = valid[:, None].repeat(1, max(map(len, asked), default=0), 1)
    for row, sets in enumerate(asked):
        orders = list(sets.values())
        orders += orders[:1] * (keep.shape[1] - len(orders))
        removed = torch.tensor(orders, dtype=torch.int64, device=valid.device)
        keep[row] = keep[row].scatter(1, removed, False)
    return ask(keep).double().tolist()
