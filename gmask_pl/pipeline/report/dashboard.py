"""The dashboard of a project in Weights & Biases, and the report of a sweep.

What a panel shows follows from what a metric says of itself (`gmask_pl.metrics.presentation`) and
from the names that loggers are told (`gmask_pl.pipeline.report.logged`). Both are specifications in
JSON, which are made without a network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from gmask_pl.escaping import visible
from gmask_pl.identity.parts import KIND
from gmask_pl.metrics.presentation import Plot, Presentation, presented
from gmask_pl.pipeline.report.logged import PAGE, TABLE, LoggedCurve, logged_curves, scalar_name
from gmask_pl.types import JSON, UserError

GROUPED_BY = ("run.dataset", "run.model", "run.explainer")  # of the configuration of a run
COSTS = ("evaluations", "seconds")
MOST = 100  # runs, or groups of them, in a panel
COLUMNS, WIDTH, HEIGHT = 2, 24, 8  # panels in a row, and the size of a row
ABOUT = (
    "Runs are grouped by data set, model and explainer. Bars and curves are means over the runs of "
    "a group, such as seeds, and reach from the lowest to the highest of them. An interval is the "
    "95 % bootstrap interval over pairs, each end as a mean over the runs."
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A metric by its name, what it says of itself, and its curves."""

    name: str
    told: Presentation
    curves: tuple[LoggedCurve, ...]

    @property
    def title(self) -> str:
        return visible(self.told.title or self.name)

    @property
    def meaning(self) -> str:
        meaning = self.told.meaning.replace("{points}", "the last")
        return visible("; ".join(filter(None, [meaning, self.told.hint])))

    def key(self, part: str) -> str:
        return scalar_name(self.name, part)


def shown_metrics(kinds: Mapping[str, str]) -> list[Shown]:
    """Metrics by their names and kinds, in the order in which they are shown everywhere."""
    results: JSON = {name: {"value": None, KIND: kind} for name, kind in kinds.items()}
    return [
        Shown(name, told, tuple(logged_curves({name: result})))
        for name, result, told in presented(results)
    ]


@dataclass(frozen=True, slots=True)
class Boards:
    """What is built: a workspace, and of an experiment the report of its runs."""

    workspace: ws.Workspace
    report: wr.Report | None

    @property
    def specification(self) -> JSON:
        """Both as JSON: what `save` sends."""
        built = {"workspace": self.workspace, "report": self.report}
        return {
            name: board._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
            for name, board in built.items()
            if board is not None
        }


def boards(
    entity: str,
    project: str,
    metrics: Mapping[str, str],
    others: Mapping[str, str] | None = None,
    experiment: str | None = None,
) -> Boards:
    """A workspace of the runs in a project; of an experiment only its own, with their report.

    metrics: the kinds of those that are compared, by their names. others: of further ones, which
    stand in a section that is closed.
    """
    compared, further = shown_metrics(metrics), shown_metrics(others or {})
    sections = [
        ("Scores", [panel for metric in compared for panel in scores(metric)]),
        ("Curves", [panel for metric in compared for panel in curves(metric)]),
        ("Cost and quality", list(costs(compared))),
        ("Explanations", list(explanations())),
    ]
    more = [p for metric in further for p in (*scores(metric), *curves(metric))]
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        name=f"Explainers: {experiment or 'all runs'}",
        sections=[
            ws.Section(
                name=name,
                panels=placed(name, panels),
                is_open=panels is not more,
                layout_settings=ws.SectionLayoutSettings(columns=COLUMNS, rows=3),
            )
            for name, panels in [*sections, ("Further metrics", more)]
            if panels
        ],
        settings=ws.WorkspaceSettings(max_runs=MOST),
        runset_settings=ws.RunsetSettings(
            filters=[] if experiment is None else [ws.Metric("Group") == experiment],
            groupby=[ws.Config(key) for key in GROUPED_BY],
            pinned_columns=[f"summary:{key}" for m in compared for key in value_and_interval(m)],
        ),
    )
    report = None if experiment is None else report_of(entity, project, compared, experiment)
    return Boards(workspace, report)


def report_of(entity: str, project: str, metrics: Sequence[Shown], experiment: str) -> wr.Report:
    """The report of the finished runs of an experiment, one chapter a metric."""

    def chapter(title: str, text: str, panels: Iterable[Any]) -> list[Any]:
        runs = wr.Runset(
            name=experiment,
            filters=[ws.Metric("Group") == experiment, ws.Metric("State") == "finished"],
            groupby=[f"config.{key}" for key in GROUPED_BY],
        )
        runs._id = stable_id("runs", title)
        grid = wr.PanelGrid(runsets=[runs], panels=placed(title, panels))
        return [wr.H2(text=title), *([wr.P(text=text)] if text else []), grid]

    blocks: list[Any] = [wr.P(text=ABOUT), wr.TableOfContents()]
    for metric in metrics:
        panels = [*scores(metric), *curves(metric)]
        blocks += chapter(metric.title, metric.meaning, panels)
    blocks += chapter("Cost and quality", "", costs(metrics))
    blocks += chapter("Explanations", "The pairs of each run, and its page.", explanations())
    return wr.Report(
        entity=entity,
        project=project,
        title=experiment,
        description=f"The runs of experiment={experiment}, explainers side by side",
        blocks=blocks,
        width="fluid",
    )


def value_and_interval(metric: Shown) -> list[str]:
    return [metric.key(part) for part in ("value", "low", "high")]


def scores(metric: Shown) -> Iterator[Any]:
    """Panels of the value, of its interval, and of the parts that have a heading."""
    value, low, high = value_and_interval(metric)
    yield bars(metric.title, [value], metric.told.hint)
    yield bars(f"{metric.title}: 95 % interval", [low, high], metric.told.hint)
    for part in metric.told.parts:
        if part.heading:
            title = f"{metric.title}: {part.title or part.heading}"
            yield bars(title, [metric.key(part.key)], part.meaning)


def curves(metric: Shown) -> Iterator[Any]:
    """The panel of the curves, those of all runs over one another."""
    plot: Plot | None = metric.told.plot
    if plot is not None:
        yield wr.LinePlot(
            title=visible(plot.title),
            x=plot.x.name,
            y=[curve.name for curve in metric.curves],
            title_x=visible(plot.x.label),
            title_y=visible(plot.y),
            range_y=plot.range or (None, None),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=MOST,
        )


def costs(metrics: Sequence[Shown]) -> Iterator[Any]:
    """Panels of what a pair costs, and of every metric against it."""
    keys = {cost: scalar_name("cost", f"{cost}_per_pair") for cost in COSTS}
    for cost, key in keys.items():
        yield bars(f"{cost} a pair", [key], "lower is better")
    for metric in metrics:
        for cost, key in keys.items():
            yield wr.ScatterPlot(
                title=f"{metric.title} by {cost} a pair",
                x=wr.SummaryMetric(key),
                y=wr.SummaryMetric(metric.key("value")),
                log_x=True,
            )


def explanations() -> Iterator[Any]:
    """Panels of the tables of explanations, and of the pages."""
    yield wr.WeavePanelSummaryTable(table_name=TABLE)
    yield wr.MediaBrowser(title="Pages", media_keys=[PAGE], num_columns=1)


def bars(title: str, keys: Sequence[str], hint: str) -> wr.BarPlot:
    return wr.BarPlot(
        title=visible(title),
        metrics=list(keys),
        title_x=visible(hint),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        max_runs_to_show=MOST,
        max_bars_to_show=MOST,
    )


def placed(section: str, panels: Iterable[Any]) -> list[Any]:
    """Panels side by side, each by a name of its own that stays, so that files can be compared."""
    found = list(panels)
    width = WIDTH // COLUMNS
    for number, panel in enumerate(found):
        row, column = divmod(number, COLUMNS)
        panel.layout = wr.Layout(x=column * width, y=row * HEIGHT, w=width, h=HEIGHT)
        panel._id = stable_id(section, str(number))
    return found


def stable_id(*names: str) -> str:
    return hashlib.blake2b("/".join(names).encode(), digest_size=6).hexdigest()


def save(built: Boards) -> list[str]:
    """Sends what was built to W&B, and says where it is.

    Raises UserError where nobody is logged in, or W&B cannot be reached or does not take it.
    """
    instead = "or write it to a file, by out=FILE"
    where = f"entity={built.workspace.entity} project={built.workspace.project}"
    try:
        if not wandb.login(prompt=False):
            raise UserError(f"save=true: nobody is logged in to W&B: run `wandb login`, {instead}")
        urls = [built.workspace.save().url]
        if built.report is not None:
            # Runs of a named project are looked up, so a report has none until it is saved.
            for block in built.report.blocks:
                for runs in block.runsets if isinstance(block, wr.PanelGrid) else ():
                    runs.entity, runs.project = built.report.entity, built.report.project
            urls.append(built.report.save().url)
    except Exception as error:
        beyond = isinstance(error, OSError | ValueError) or type(error).__module__.startswith(
            "wandb"
        )
        if isinstance(error, UserError) or not beyond:
            raise
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"save=true: W&B cannot be reached, or does not take it ({reason}). {where}: see that "
            f"this project is there and yours, {instead}"
        ) from error
    return urls
