"""What a run leaves: files, page, logs, and the table at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.loggers import WandbLogger

from gmask_pl.engine.scoring import metric_removals
from gmask_pl.engine.session import make_loggers, plain
from gmask_pl.processes import say
from gmask_pl.report.files import METRICS_FILE, PAGE_FILE, write_curves, write_metrics
from gmask_pl.report.media import log_to_wandb, scalars
from gmask_pl.report.page import write_page
from gmask_pl.report.table import format_table
from gmask_pl.store import read_explanations
from gmask_pl.types import JSON, Explanation

EXPLANATIONS, CONFIG = "explanations.parquet", "config.yaml"
PAIR_SCORES = "pair_scores.parquet"
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
    """Tells the loggers, and prints the table at the end."""
    for logger in make_loggers(cfg, explainer=name):
        if isinstance(logger, WandbLogger):
            found = read_explanations(folder / EXPLANATIONS)
            page, rows = folder / PAGE_FILE, cfg.report.max_pairs
            log_to_wandb(logger, results, found, page, labels=labels, max_rows=rows)
        else:
            logger.log_metrics(dict(scalars(results)))
            logger.save()
        logger.finalize("success")
    say(format_table([(name, results)]))
    say(f"report: {folder / PAGE_FILE}")


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
