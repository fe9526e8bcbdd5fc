"""The last stage of a run: its results as a page, curves and logs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hydra.errors import InstantiationException
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from gmask_pl.explanation import Explanation
from gmask_pl.files import damaged, write_text
from gmask_pl.pipeline.report.logged import scalars
from gmask_pl.pipeline.report.page import write_page
from gmask_pl.pipeline.report.result_files import (
    CURVES_FILE,
    METRICS_FILE,
    PAGE_FILE,
    curves_text,
    write_curves,
)
from gmask_pl.pipeline.report.tensorboard_media import log_to_tensorboard
from gmask_pl.pipeline.report.wandb_media import log_to_wandb
from gmask_pl.processes import say
from gmask_pl.store import read_explanations, read_labels
from gmask_pl.types import JSON, UserError

EXPLANATIONS, CONFIG = "explanations.parquet", "config.yaml"
PAIR_SCORES = "pair_scores.parquet"
LOGGED = "logged.json"  # the loggers that were told these results
WHAT_A_RUN_LEAVES = (CONFIG, EXPLANATIONS, PAIR_SCORES, METRICS_FILE)


def facts(explanations: Iterable[Explanation]) -> JSON:
    """Mean model evaluations and seconds a pair; the model's accuracy on the labelled pairs, and
    how many it could not read whole."""
    total: Counter[str] = Counter()
    seconds = 0.0
    for e in explanations:
        seconds += e.seconds
        total += Counter(
            pairs=1,
            evaluations=e.evaluations,
            gradients=e.gradients,
            labelled=e.label is not None,
            right=e.prediction == e.label,
            truncated=bool(e.truncated),
        )
    n, labelled = total["pairs"], total["labelled"]
    if total["truncated"]:
        say(f"{total['truncated']} of {n} pairs are longer than the model reads: truncated")
    return {
        "cost": {
            "evaluations_per_pair": total["evaluations"] / n,
            "gradients_per_pair": total["gradients"] / n,
            "seconds_per_pair": seconds / n,
        },
        "model": {
            "accuracy": total["right"] / labelled if labelled else None,
            "n": labelled,
            "truncated": total["truncated"],
        },
    }


def report(folder: Path, page: JSON, results: JSON) -> None:
    """Makes the curves and the page of the results and explanations in a folder.

    page: what the page says beside them, see `build.page_of`.
    """
    write_curves(folder, results)
    write_page(
        folder / PAGE_FILE,
        **page,
        metrics=results,
        explanations=read_explanations(folder / EXPLANATIONS),
        labels=read_labels(folder / EXPLANATIONS),
    )


def is_reported(folder: Path, results: JSON) -> bool:
    """Whether a folder has the curves of these results, and a page with its end."""
    try:
        page, curves = ((folder / name).read_bytes() for name in (PAGE_FILE, CURVES_FILE))
    except OSError:
        return False
    return page.rstrip().endswith(b"</html>") and curves == curves_text(results).encode()


def log(
    folder: Path, results: JSON, loggers: Mapping[str, Callable[[], Logger]], max_rows: int
) -> None:
    """Tells the results in a folder to the loggers that were not told yet.

    loggers: by name what makes each. Raises UserError at the end where one of them cannot be told:
    the same command tells it later.
    """
    told, failed = read_logged(folder), list[str]()
    for name, make in loggers.items():
        if told is None or name in told:
            continue
        try:
            with telling_loggers(name):
                tell(make(), folder, results, max_rows)
        except UserError as error:
            failed.append(str(error))
        else:
            told.append(name)
            write_text(folder / LOGGED, json.dumps(told) + "\n")
    if failed:
        raise UserError(
            f"the results are in {folder}, and were not logged: {'; '.join(failed)}. The same "
            "command logs them later, without computing anything"
        )


def tell(logger: Logger, folder: Path, results: JSON, max_rows: int) -> None:
    """Tells a logger the results."""
    file, page = folder / EXPLANATIONS, folder / PAGE_FILE
    if isinstance(logger, WandbLogger):
        found, labels = read_explanations(file), read_labels(file)
        log_to_wandb(logger, results, found, page, labels=labels, max_rows=max_rows)
    elif isinstance(logger, TensorBoardLogger):
        found, labels = read_explanations(file), read_labels(file)
        log_to_tensorboard(logger, results, found, page, labels=labels, max_rows=max_rows)
    else:
        logger.log_metrics(dict(scalars(results)))
        logger.save()
    logger.finalize("success")


@contextmanager
def telling_loggers(name: str) -> Iterator[None]:
    """Tells that a logger cannot be reached as UserError."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        beyond = isinstance(cause, OSError) or type(cause).__module__.startswith("wandb.")
        if isinstance(cause, UserError) or not beyond:
            raise
        reason = " ".join(str(cause).split())[:300]
        raise UserError(
            f"logger={name} cannot be reached or written ({reason}): mend that, or leave it out by "
            "logger=csv; WANDB_MODE=offline keeps what W&B is told for `wandb sync`"
        ) from error


def read_logged(folder: Path) -> list[str] | None:
    """The loggers that were told the results in a folder; None of an earlier version, which told
    all."""
    file = folder / LOGGED
    if not os.path.lexists(file):
        return None
    try:
        return [str(name) for name in json.loads(file.read_text("utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        damaged(file, error)
        return []
