"""What loggers are told of a run, and under which names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gmask_pl.drawing.cards import TOP_WORDS, make_card
from gmask_pl.escaping import visible
from gmask_pl.explanation import Explanation, top_counted
from gmask_pl.metrics.presentation import presented
from gmask_pl.pipeline.report.result_files import lines, number

TABLE, PAGE = "explanations", "report"  # the names of the explanations and of the page
COLUMNS = (
    "id",
    "text 1",
    "text 2",
    "predicted",
    "probability",
    "gold",
    "top words",
    "groups",
    "enough alone",
    "decision changes without",
    "evaluations",
    "seconds",
)
Cell = str | float | None


@dataclass(frozen=True, slots=True)
class LoggedCurve:
    """A curve by its name, over an axis of its own; ``points`` are (x, y)."""

    name: str
    axis: str
    points: tuple[tuple[float, float], ...]


def scalar_name(*keys: str) -> str:
    """The name of a number of the metrics by its keys.

    >>> from gmask_pl.pipeline.report.logged import scalar_name
    >>> scalar_name("aopc", "low")
    'aopc/low'
    """
    return "/".join(map(visible, keys))  # a name may be that of a label


def scalars(metrics: Mapping[str, Any], *above: str) -> Iterator[tuple[str, float]]:
    """Every finite number of the metrics by a flat name, below the names ``above``.

    So aopc/value, comprehensiveness/by_fraction/0.05/low, post_hoc_accuracy/v4 and v4_low. The
    points of a curve that names none, such as MoRF and LeRF, are not scalars.
    """
    for key, found in metrics.items():
        if isinstance(found, Mapping):
            yield from scalars(found, *above, key)
        elif (value := number(found)) is not None:
            yield scalar_name(*above, key), value
    for name, result, told in presented(metrics):
        letter = told.plot.letter if told.plot else ""
        for line in lines(name, result, told) if letter else ():
            for x, *values in line.points:
                for end, value in zip(("", "_low", "_high"), values, strict=True):
                    if value is not None:
                        yield scalar_name(*above, name, f"{letter}{x}{end}"), value


def logged_curves(metrics: Mapping[str, Any]) -> Iterator[LoggedCurve]:
    """Every curve of the metrics; one without numbers has no points."""
    for name, result, told in presented(metrics):
        for line in lines(name, result, told):
            assert told.plot is not None
            points = tuple((x, y) for x, y, _, _ in line.points if y is not None)
            yield LoggedCurve(scalar_name("curves", line.name), told.plot.x.name, points)


def explanation_rows(
    explanations: Iterable[Explanation], labels: Sequence[str], most: int
) -> list[list[Cell]]:
    """The first explanations, each as plain text under COLUMNS."""
    return [explanation_row(e, labels) for e in islice(explanations, most)]


def explanation_row(explanation: Explanation, labels: Sequence[str]) -> list[Cell]:
    """One explanation as plain text under COLUMNS."""
    e, card = explanation, make_card(explanation, labels)
    groups = (
        f"{group.name} {group.psi:.2f}: {' '.join(w.text for w in group.words if not w.faint)}"
        for group in card.groups
    )
    row: list[Cell] = [
        e.id,
        " ".join(e.words1),
        " ".join(e.words2),
        card.predicted,
        card.probability,
        card.gold,
        ", ".join(word for word, _ in top_counted(e, TOP_WORDS)),
        " | ".join(groups),
        e.enough,
        e.needed,
        e.evaluations,
        e.seconds,
    ]
    return [visible(cell) if isinstance(cell, str) else cell for cell in row]
