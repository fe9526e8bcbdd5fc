"""What is left of a decision after the first words of an order are removed, or kept alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gmask_pl.explanation import Explanation

WIDTH, HEIGHT = 190.0, 74.0  # of the picture, in px
_LEFT, _TOP = 4.0, 4.0


@dataclass(frozen=True, slots=True)
class Line:
    """name: of a line; points: of an SVG polyline; ends: its first and last number."""

    name: str
    points: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """The lines of one card, from the lowest to the highest number: low, high."""

    lines: tuple[Line, ...]
    low: float
    high: float
    words: int


def curve_of(e: Explanation) -> Curve | None:
    """The curve over the candidates, by falling score, and beside it the mean over all orders.

    None where the model was not asked about all their subsets.
    """
    known, said = e.certificates, e.responses
    if known is None or said is None:
        return None
    words = sorted(known.words, key=lambda word: (-e.scores[word], word))
    rest = set(range(said.words)) - set(e.unread) - set(words)
    found: dict[str, list[float]] = {}
    for name, others in (("kept", set[int]()), ("removed", rest)):
        rows = said.table(words, others=others)
        if rows is None:
            continue
        values = said.values[rows].astype(float)
        if name == "removed":
            values = values[::-1]  # entry S: without S
        k = len(words)
        # The first word has the highest bit.
        first = [sum(1 << (k - 1 - i) for i in range(r)) for r in range(k + 1)]
        found[name] = values[first].tolist()
        sizes = np.array([subset.bit_count() for subset in range(2**k)])
        found[f"{name}, any order"] = [float(values[sizes == r].mean()) for r in range(k + 1)]
    numbers = [number for line in found.values() for number in line]
    low, high = (0.0, 1.0) if min(numbers) >= 0 and max(numbers) <= 1 else _ends(numbers)
    lines = tuple(
        Line(name, _points(values, low, high), tuple(values)) for name, values in found.items()
    )
    return Curve(lines, low, high, len(words))


def _ends(numbers: list[float]) -> tuple[float, float]:
    low, high = min(numbers), max(numbers)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _points(values: list[float], low: float, high: float) -> str:
    across, up = WIDTH - 2 * _LEFT, HEIGHT - 2 * _TOP
    steps = max(1, len(values) - 1)
    return " ".join(
        f"{_LEFT + across * i / steps:.1f},{_TOP + up * (1 - (value - low) / (high - low)):.1f}"
        for i, value in enumerate(values)
    )
