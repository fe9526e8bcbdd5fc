"""Figures 3 and 4: post-hoc accuracy by words kept, and the curves of the degradation test."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from gmask_paper.collector import label, missing, ordered
from gmask_paper.collectors.score_table import WEAK, Scored, ScoreTable
from gmask_paper.curve_figures import Curve, Panel, draw_panels
from gmask_paper.result_tables import write_csv
from gmask_paper.run_query import Request
from gmask_pl.files import write_text
from gmask_pl.metrics.bootstrap import estimate, numbers
from gmask_pl.metrics.faithfulness.removal_curves import normalised_curves
from gmask_pl.pipeline.report.result_files import meaningful

Points = tuple[str, Sequence[float], Callable[[Tensor], Tensor]]


class CurveFigure(ScoreTable):
    """The curves of every explainer with bands, and the table of the areas that they come to."""

    x = y = ""
    suffixes: tuple[str, ...] = ("",)  # a panel each

    @abstractmethod
    def points(self, width: int) -> list[Points]:
        """The curves that rows of ``width`` numbers hold: name, x, and y of averaged rows."""

    def write(self, request: Request, scored: Sequence[Scored]) -> list[Path]:
        panels = [self._panels(request, one) for one in scored]
        stem = request.folder / request.name
        lines: list[Sequence[object]] = [("panel", "explainer", "kind", "x", "y", "low", "high")]
        lines += [
            (panel.title, curve.name, curve.kind, *point)
            for row in panels
            for panel in row
            for curve in panel.curves
            for point in zip(curve.x, curve.y, curve.low, curve.high, strict=True)
        ]
        wide = len(request.swept["dataset"])
        rows = panels if len(panels[0]) > 1 else _rows([row[0] for row in panels], wide)
        return [
            *draw_panels(rows, stem, x=self.x, y=self.y),
            write_text(stem.with_name(f"{request.name}_curves.csv"), write_csv(lines)),
            *super().write(request, scored),
        ]

    def _panels(self, request: Request, one: Scored) -> list[Panel]:
        """The panels of a column, one for each of its curves."""
        if not one.tables:
            reason = missing(request, one.column)[1]
            return [Panel(f"{one.where}{suffix}", (), reason) for suffix in self.suffixes]
        width = next(iter(one.tables.values())).shape[-1]
        told = [result for e in one.column.entries for result in self.told(e, one.column)]
        where = one.where if all(map(meaningful, told)) else f"{one.where}{WEAK}"
        return [
            Panel(f"{where}{name}", tuple(self._curves(request, one, x, y)), "")
            for name, x, y in self.points(width)
        ]

    def _curves(
        self,
        request: Request,
        one: Scored,
        x: Sequence[float],
        statistic: Callable[[Tensor], Tensor],
    ) -> list[Curve]:
        curves = []
        for entry in ordered(request, one.column, self.apart):
            rows = one.tables[label(entry)]
            found = estimate(rows, statistic, resamples=self.resamples, seed=self.seed)
            y, low, high = (
                [float("nan") if v is None else v for v in numbers(part)]
                for part in (found.value, found.low, found.high)
            )
            kind = self.kind(entry.explainer)
            curves.append(Curve(label(entry), kind, tuple(x), y, low, high))
        return curves


class AccuracyCurves(CurveFigure):
    """Figure 3: a panel for each model and dataset, with 95 % bands."""

    x, y = "words kept, v", "post-hoc accuracy"

    def points(self, width: int) -> list[Points]:
        return [("", list(range(1, width + 1)), lambda averages: averages)]


class DegradationCurves(CurveFigure):
    """Figure 4: MoRF and LeRF (Eq. 10), a panel each, with 95 % bands."""

    x, y = "words removed (%)", "normalised probability S"
    suffixes = (": most relevant first (MoRF)", ": least relevant first (LeRF)")

    def points(self, width: int) -> list[Points]:
        steps = (width - 1) // 2 + 1
        percent = [100 * i / steps for i in range(steps + 1)]
        return [
            (suffix, percent, lambda gains, i=i: normalised_curves(gains)[i])  # type: ignore[misc]
            for i, suffix in enumerate(self.suffixes)
        ]


def _rows(panels: list[Panel], wide: int) -> list[list[Panel]]:
    return [panels[start : start + wide] for start in range(0, len(panels), wide)]
