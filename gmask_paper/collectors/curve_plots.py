"""Figures 3 and 4: the curves of a metric, such as post-hoc accuracy by words kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from gmask_paper.collector import missing, ordered
from gmask_paper.collectors.score_table import WEAK, Scored, ScoreTable
from gmask_paper.curve_figures import Curve, Panel, draw_panels
from gmask_paper.result_tables import write_csv
from gmask_paper.run_query import RunQuery
from gmask_pl.files import write_text
from gmask_pl.metrics.bootstrap import estimate
from gmask_pl.metrics.presentation import Plot, metric_class
from gmask_pl.pipeline.report.result_files import meaningful
from gmask_pl.types import UserError


class CurveFigure(ScoreTable):
    """The curves of every explainer with 95 % bands, and the table of what they come to.

    A panel for each model and dataset; of a metric with several curves, a panel for each of them.
    """

    @property
    def plot(self) -> Plot:
        """What the metric says of its curves."""
        kind = metric_class(self.metric)
        if kind is None or kind.presentation.plot is None:
            raise UserError(f"collect.metric={self.metric}: a metric without curves")
        return kind.presentation.plot

    @property
    def suffixes(self) -> list[str]:
        """What the panels of the curves are called, beside the model and dataset."""
        curves = self.plot.curves
        return [f": {curve.label}" for curve in curves] if len(curves) > 1 else [""]

    def write(self, query: RunQuery, scored: Sequence[Scored]) -> list[Path]:
        panels = [self._panels(query, one) for one in scored]
        lines: list[Sequence[object]] = [("panel", "explainer", "kind", "x", "y", "low", "high")]
        lines += [
            (panel.title, curve.name, curve.kind, *point)
            for row in panels
            for panel in row
            for curve in panel.curves
            for point in zip(curve.x, curve.y, curve.low, curve.high, strict=True)
        ]
        if len(self.suffixes) == 1:  # the models one below the other, the datasets side by side
            alone, wide = [panel for (panel,) in panels], len(query.swept["dataset"])
            panels = [alone[start : start + wide] for start in range(0, len(alone), wide)]
        return [
            *draw_panels(panels, query.stem(), x=self.plot.x.label, y=self.plot.y),
            write_text(query.stem("_curves.csv"), write_csv(lines)),
            *super().write(query, scored),
        ]

    def _panels(self, query: RunQuery, one: Scored) -> list[Panel]:
        """The panels of a column, one for each of its curves."""
        place = one.column.where
        if not one.tables:
            reason = missing(query, one.column)[1]
            return [Panel(f"{place}{suffix}", (), reason) for suffix in self.suffixes]
        told = [result for e in one.column.entries for result in self.told(e, one.column)]
        place += "" if all(map(meaningful, told)) else WEAK
        return [
            Panel(f"{place}{suffix}", tuple(self._curves(query, one, i)), "")
            for i, suffix in enumerate(self.suffixes)
        ]

    def _curves(self, query: RunQuery, one: Scored, index: int) -> list[Curve]:
        def curve(averages: Tensor) -> Tensor:
            return kind.curves(averages)[index]

        kind = one.column.entries[0].runs[0].metric_class(self.metric)
        curves = []
        for entry in ordered(query, one.column, self.apart):
            rows = one.tables[entry.label]
            found = estimate(rows, curve, resamples=self.resamples, seed=self.seed)
            y, low, high = (
                part.where(part.isfinite(), math.nan).tolist()
                for part in (found.value, found.low, found.high)
            )
            x = tuple(self.plot.x.at(len(y)))
            curves.append(Curve(entry.label, self.kind(entry.explainer), x, y, low, high))
        return curves
