"""What a run leaves: files, page, logs, and the table at the end."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.loggers import Logger, WandbLogger

from gmask_pl.files import damaged, write_text
from gmask_pl.pipeline.build import logger_names, make_logger, plain, telling_loggers
from gmask_pl.pipeline.report.page import write_page
from gmask_pl.pipeline.report.result_files import (
    METRICS_FILE,
    PAGE_FILE,
    write_curves,
    write_metrics,
)
from gmask_pl.pipeline.report.wandb_media import log_to_wandb, scalars
from gmask_pl.pipeline.scoring import metric_removals
from gmask_pl.processes import say
from gmask_pl.store import read_explanations
from gmask_pl.types import JSON, Explanation, UserError

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


def report(
    cfg: DictConfig, folder: Path, name: str, results: JSON, labels: tuple[str, ...]
) -> None:
    """Curves, page and metrics as files; metrics.json, which says that a run is whole, last."""
    write_text(folder / LOGGED, "[]\n")
    write_curves(folder, results)
    write_page(
        folder / PAGE_FILE,
        title=f"{name} · {cfg.model.name} · {cfg.dataset.name}",
        settings=page_settings(cfg),
        metrics=results,
        explanations=read_explanations(folder / EXPLANATIONS),
        labels=labels,
        max_pairs=cfg.report.max_pairs,
    )
    write_metrics(folder, results)


def log(cfg: DictConfig, folder: Path, name: str, results: JSON, labels: tuple[str, ...]) -> None:
    """Tells the results in a folder to the loggers that were not told yet.

    Raises UserError at the end where one of them cannot be: the same command tells it later.
    """
    told, failed = read_logged(folder), list[str]()
    for choice in logger_names(cfg):
        if told is None or choice in told:
            continue
        try:
            with telling_loggers(choice):
                tell(make_logger(cfg, choice, explainer=name), cfg, folder, results, labels)
        except UserError as error:
            failed.append(str(error))
        else:
            told.append(choice)
            write_text(folder / LOGGED, json.dumps(told) + "\n")
    if failed:
        raise UserError(
            f"the results are in {folder}, and were not logged: {'; '.join(failed)}. The same "
            "command logs them later, without computing anything"
        )


def tell(
    logger: Logger, cfg: DictConfig, folder: Path, results: JSON, labels: tuple[str, ...]
) -> None:
    """Tells a logger the results."""
    if isinstance(logger, WandbLogger):
        found = read_explanations(folder / EXPLANATIONS)
        page, rows = folder / PAGE_FILE, cfg.report.max_pairs
        log_to_wandb(logger, results, found, page, labels=labels, max_rows=rows)
    else:
        logger.log_metrics(dict(scalars(results)))
        logger.save()
    logger.finalize("success")


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


def page_settings(cfg: DictConfig) -> dict[str, Any]:
    """What the head of the page says of the run."""
    settings = plain(cfg)
    removals = metric_removals(cfg)
    curves = f" (curves: {removals[0]})" if len(removals) > 1 else ""
    return {
        "model": settings["weights"] or settings["weights_dir"],
        "dataset": settings["dataset"].get("path") or settings["dataset"]["name"],
        "split": settings["split"],
        "unit": settings["unit"],
        "removal (explainer)": settings["explainer"]["removal"],
        "removal (metrics)": ", ".join(removals) + curves,
        "seed": settings["seed"],
    }
