"""A run's results for Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gmask_pl.explanation import Explanation
from gmask_pl.pipeline.report.logged import (
    COLUMNS,
    PAGE,
    TABLE,
    explanation_rows,
    logged_curves,
    scalars,
)

if TYPE_CHECKING:
    from pytorch_lightning.loggers import WandbLogger


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

    payload: dict[str, Any] = dict(scalars(metrics))
    rows = explanation_rows(explanations, labels, max_rows)
    payload[TABLE] = wandb.Table(columns=list(COLUMNS), data=rows)
    payload[PAGE] = wandb.Html(str(page_path), inject=False)
    run = logger.experiment
    run.log(payload)
    for curve in logged_curves(metrics):
        run.define_metric(curve.name, step_metric=curve.axis)
        for x, y in curve.points:
            run.log({curve.axis: x, curve.name: y})


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
