"""A run's results for Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gmask_pl.drawing.cards import TOP_WORDS, make_card
from gmask_pl.escaping import visible
from gmask_pl.explanation import Explanation, top_counted
from gmask_pl.metrics.presentation import presented
from gmask_pl.pipeline.report.result_files import lines, number

if TYPE_CHECKING:
    from pytorch_lightning.loggers import WandbLogger

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


def log_to_wandb(
    logger: WandbLogger,
    metrics: Mapping[str, Any],
    explanations: Iterable[Explanation],
    page_path: Path | str,
    *,
    labels: Sequence[str],
    max_rows: int,
) -> None:
    """Log the metrics, the curves, a table of the first explanations, and the page.

    A curve is a metric over its own x axis, so W&B lays those of several runs over one another
    without being told how. The page is logged by itself: inside a table W&B would store it outside
    the run.
    """
    import wandb

    rows = [explanation_row(e, labels) for e in islice(explanations, max_rows)]
    payload: dict[str, Any] = dict(scalars(metrics))
    payload["explanations"] = wandb.Table(columns=list(COLUMNS), data=rows)
    payload["report"] = wandb.Html(str(page_path), inject=False)
    run = logger.experiment
    run.log(payload)
    for name, result, told in presented(metrics):
        for line in lines(name, result, told):
            assert told.plot is not None
            curve, axis = f"curves/{visible(line.name)}", told.plot.x.name
            run.define_metric(curve, step_metric=axis)
            for x, y, _, _ in line.points:
                if y is not None:
                    run.log({axis: x, curve: y})


def scalars(metrics: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Every finite number of the metrics by a flat name, below the name ``above``.

    So aopc/value, comprehensiveness/by_fraction/0.05/low, post_hoc_accuracy/v4 and v4_low. The
    points of a curve that names none, such as MoRF and LeRF, are not scalars.
    """
    for key, found in metrics.items():
        key = visible(key)  # a name may be that of a label
        if isinstance(found, Mapping):
            yield from scalars(found, f"{above}{key}/")
        elif (value := number(found)) is not None:
            yield f"{above}{key}", value
    for name, result, told in presented(metrics):
        letter = told.plot.letter if told.plot else ""
        for line in lines(name, result, told) if letter else ():
            for x, *values in line.points:
                for end, value in zip(("", "_low", "_high"), values, strict=True):
                    if value is not None:
                        yield f"{above}{visible(name)}/{letter}{x}{end}", value


def explanation_row(explanation: Explanation, labels: Sequence[str]) -> list[Any]:
    """One explanation as plain text under COLUMNS."""
    e, card = explanation, make_card(explanation, labels)
    groups = (
        f"{group.name} {group.psi:.2f}: {' '.join(w.text for w in group.words if not w.faint)}"
        for group in card.groups
    )
    row = [
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


def check_wandb() -> None:
    """Tries the login, unless runs are kept offline or nobody is logged in.

    Raises wandb's CommError where W&B is out of reach or does not know the key.
    """
    if os.environ.get("WANDB_MODE", "online") == "online":
        import wandb

        wandb.login(prompt=False)


def wandb_logger(*, save_dir: str, project: str, group: str, name: str) -> WandbLogger:
    """A logger of a run of its own: offline when nobody is logged in, so no account is needed."""
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    # Jobs of one multirun share a process, and would share a run.
    wandb.finish()
    folder = Path(save_dir)
    folder.mkdir(parents=True, exist_ok=True)
    # WANDB_MODE has the last word. WandbLogger's own offline=True sets it too late to be read.
    known = "WANDB_MODE" in os.environ or wandb.login(prompt=False)
    mode = None if known else "offline"
    return WandbLogger(save_dir=str(folder), project=project, group=group, name=name, mode=mode)
