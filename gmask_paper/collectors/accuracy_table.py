"""Tables 1 and 6: the accuracy of the task models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from hydra import compose
from statsmodels.stats.proportion import proportion_confint

from gmask_paper.collector import METHOD, Collector
from gmask_paper.paper_numbers import published, title
from gmask_paper.result_tables import Cell, ResultTable, Row, write_results
from gmask_paper.run_finder import Run
from gmask_paper.run_query import RunQuery
from gmask_pl.data.source import SPLITS
from gmask_pl.pipeline.damaged_folders import NUMBER, json_object, kept_to, reading
from gmask_pl.pipeline.training import SUMMARY_FILE
from gmask_pl.settings import OneOf, Whole, checked
from gmask_pl.types import Unreadable


class AccuracyTable(Collector):
    """Accuracy (%) on a split by model and dataset, beside the paper's ``table``.

    Of our own models it is what training measured on the whole split; of others (weights=...)
    what the run with the most pairs of that split measured. Intervals are Wilson's.
    """

    @checked
    def __init__(
        self, *, table: str, caption: str, split: Annotated[str, OneOf(SPLITS)], digits: Whole
    ) -> None:
        self.table, self.caption, self.split, self.digits = table, caption, split, digits

    def __call__(self, query: RunQuery) -> list[Path]:
        datasets = query.swept["dataset"]
        rows = tuple(
            Row(
                group="",
                name=title("models", model),
                kind=METHOD,
                cells=tuple(self.cell(query, model, dataset) for dataset in datasets),
            )
            for model in query.swept["model"]
        )
        table = ResultTable(
            title=self.caption,
            stub=("", "model"),
            head=tuple(title("datasets", dataset) for dataset in datasets),
            rows=rows,
            digits=self.digits,
            paper_digits=2,
            notes=("Brackets: 95 % interval (Wilson).", *query.left_out),
        )
        return write_results(table, query.stem())

    def cell(self, query: RunQuery, model: str, dataset: str) -> Cell:
        printed = published(self.table, model, dataset)
        cfg = compose(
            "explain", [f"model={model}", f"dataset={dataset}", f"output={query.cfg.output}"]
        )
        trained = Path(cfg.weights_dir) / SUMMARY_FILE
        if trained.is_file():
            try:
                with reading(trained):
                    summary = json_object(trained)
                    kept_to({"accuracy": {...: NUMBER}, "pairs": {...: NUMBER}}, summary)
                    accuracy = summary["accuracy"].get(self.split)
            except Unreadable as error:
                return Cell(paper=printed, reason=str(error))
            pairs = summary.get("pairs", {}).get(self.split)
            if accuracy is not None:
                return self.number(accuracy, pairs, printed, "")
            return Cell(paper=printed, reason=f"the {self.split} split has no labels: {trained}")
        runs = [run for run in query.runs if (run.model, run.dataset) == (model, dataset)]
        runs = [run for run in runs if run.config.split == self.split and known(run) is not None]
        if not runs:
            where = {"model": [model], "dataset": [dataset]}
            explain = query.command("explain", where | {"explainer": ["random"]})
            why = (
                f"not trained yet: `{query.command('train', where)}`; for other weights: "
                f"`{explain} split={self.split} limit=null weights=...`"
            )
            return Cell(paper=printed, reason=why)
        largest = max(runs, key=lambda run: (run.metrics["model"]["n"], run.made))
        weights = largest.config.get("weights") or largest.weights[:8]
        told = f"weights {weights}, as a run explained them"
        return self.number(known(largest), largest.metrics["model"]["n"], printed, told)

    def number(
        self, accuracy: float | None, pairs: int | None, printed: float | None, told: str
    ) -> Cell:
        assert accuracy is not None
        low = high = None
        if pairs:
            ends = proportion_confint(round(accuracy * pairs), pairs, method="wilson")
            low, high = (100 * float(end) for end in ends)
        return Cell(100 * accuracy, low, high, printed, pairs=pairs, reason=told)


def known(run: Run) -> float | None:
    """The accuracy of the explained model on the labelled pairs of a run."""
    found: float | None = run.metrics["model"]["accuracy"]
    return found
