"""How a metric is shown: said once, on its class, and read by tables, pages, curves and loggers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gmask_pl.files import warn_once
from gmask_pl.identity.parts import KIND, target_of

if TYPE_CHECKING:
    from gmask_pl.metrics.pair_metric import RowMetric


@dataclass(frozen=True, slots=True)
class Part:
    """A further number of a result: ``key``, with its interval in ``key_low`` and ``key_high``.

    title: on the page, else the key; heading: of its column in the table of runs, else it has none.
    """

    key: str
    meaning: str = ""
    title: str = ""
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    """The x axis of curves. name: in loggers; at: the places of so many points."""

    name: str
    label: str
    at: Callable[[int], Sequence[float]]


def counted(points: int) -> list[int]:
    """1, 2, 3, ...

    >>> from gmask_pl.metrics.presentation import counted
    >>> counted(3)
    [1, 2, 3]
    """
    return list(range(1, points + 1))


def percent(points: int) -> list[float]:
    """From 0 to 100 in equal steps.

    >>> from gmask_pl.metrics.presentation import percent
    >>> percent(3)
    [0.0, 50.0, 100.0]
    """
    return [100 * i / max(points - 1, 1) for i in range(points)]


WORDS_KEPT = Axis("words_kept", "words kept, v", counted)
WORDS_REMOVED = Axis("words_removed", "words removed, u", counted)
PERCENT_REMOVED = Axis("percent_removed", "words removed (%)", percent)


@dataclass(frozen=True, slots=True)
class Curve:
    """The numbers of a result that are a curve: the list ``key``, and ``low`` and ``high`` if any.

    name: in curves.csv and loggers, else that of the metric; label: in a figure.
    """

    key: str
    label: str
    name: str = ""
    low: str = ""
    high: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """The curves of a metric, drawn together.

    y: label of the axis; equation: of the paper, if it is one; title: what the figure is, in words;
    range: of y. area: whether what lies between the first two curves is filled. letter: of a metric
    whose points are numbers in their own right, such as v=4: loggers have all of them, the page and
    the table of runs those at ``shown``.
    """

    title: str
    x: Axis
    y: str
    curves: tuple[Curve, ...]
    equation: str = ""
    range: tuple[float, float] | None = None
    area: bool = False
    letter: str = ""
    shown: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Presentation:
    """What a metric is, for whoever shows it.

    meaning: one sentence; ``{points}`` in it is the number of points of the first curve. title: on
    the page; heading: of its column in the table of runs; without them it is called by its name.
    unit: of the value; higher_is_better: None where neither is; range: the least and the greatest
    value, None where there is no end. digits, interval: of the column.

    place: among the metrics, those with the lowest first, equal ones as the run has them.

    >>> from gmask_pl.metrics.presentation import Presentation
    >>> Presentation(meaning="pairs whose prediction changes", unit="share", range=(0, 1)).hint
    'share; from 0 to 1; higher is better'
    """

    meaning: str = ""
    title: str = ""
    heading: str = ""
    unit: str = ""
    higher_is_better: bool | None = True
    range: tuple[float | None, float | None] = (None, None)
    parts: tuple[Part, ...] = ()
    plot: Plot | None = None
    digits: int = 3
    interval: bool = True
    place: int = 100

    @property
    def hint(self) -> str:
        """Unit, range and direction in words, as far as they are said."""
        low, high = ("no end" if end is None else f"{end:g}" for end in self.range)
        ends = "" if self.range == (None, None) else f"from {low} to {high}"
        better: dict[Any, str] = {True: "higher is better", False: "lower is better", None: ""}
        return "; ".join(filter(None, [self.unit, ends, better[self.higher_is_better]]))


UNKNOWN = Presentation(higher_is_better=None)  # of a metric whose class nobody declares


def metric_class(kind: str) -> type[RowMetric] | None:
    """The class that ``conf/metric/<kind>.yaml`` declares; None where there is no such file.

    No other class is imported: a run may come from somebody else, and importing runs code.

    >>> from gmask_pl.metrics.presentation import metric_class
    >>> metric_class("aopc").__name__, metric_class("mine")
    ('AOPC', None)
    """
    if (target := target_of("metric", kind)) is None:
        return None
    module, _, name = target.rpartition(".")
    found: type[RowMetric] = getattr(import_module(module), name)
    return found


@functools.cache
def presentation(kind: str) -> Presentation:
    """How a metric is shown, by the kind of its class; ``UNKNOWN`` where that is not to be had.

    >>> from gmask_pl.metrics.presentation import presentation
    >>> presentation("aopc").hint
    'probability; from -1 to 1; higher is better'
    """
    try:
        found = metric_class(kind)
        return UNKNOWN if found is None else found.presentation
    except Exception as error:  # of a file that is being written: no reason to lose a table
        warn_once(kind, f"conf/metric/{kind}.yaml: its class cannot be imported: {error!r}")
        return UNKNOWN


def presented(results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Presentation]]:
    """The metrics among the results of a run: name, result, and how it is shown, in this order.

    A metric is what has a value, or a class that is known. The kind of an earlier run's metric is
    its name.

    >>> from gmask_pl.metrics.presentation import presented
    >>> results = {"degradation": {"value": 0.8}, "aopc": {"value": 0.6}, "pairs": 100}
    >>> [(name, told.heading) for name, _, told in presented(results)]
    [('aopc', 'AOPC'), ('degradation', 'degradation')]
    """
    found = [
        (name, result, _named(name, presentation(str(result.get(KIND, name)))))
        for name, result in results.items()
        if isinstance(result, Mapping)
    ]
    metrics = [one for one in found if "value" in one[1] or one[2] is not UNKNOWN]
    return sorted(metrics, key=lambda one: one[2].place)


def _named(name: str, told: Presentation) -> Presentation:
    """A metric of a class that is shown under another name as well is called by its own."""
    if told is UNKNOWN or told == presentation(name):
        return told
    plot = told.plot
    if plot is not None:
        curves = (replace(c, name=f"{name}_{c.name}" if c.name else "") for c in plot.curves)
        plot = replace(plot, curves=tuple(curves))
    return replace(told, title="", heading="", plot=plot)
