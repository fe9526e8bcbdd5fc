"""Explains a model's predictions on test pairs, scores the explanations, and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import seed_everything
from pytorch_lightning.loggers import Logger, WandbLogger

from gmask_pl.config import deciding_settings
from gmask_pl.data.selection import OnlyPairs
from gmask_pl.engine.fingerprint import weights_fingerprint
from gmask_pl.engine.loops import ExplainLoop
from gmask_pl.engine.scoring import configured_metrics, metric_removals, score
from gmask_pl.engine.session import (
    data_module,
    make_loggers,
    make_trainer,
    plain,
    stored_classifier,
)
from gmask_pl.engine.study import make_study
from gmask_pl.engine.train import train
from gmask_pl.models.base import PairClassifier
from gmask_pl.report.files import METRICS_FILE, read_metrics, write_curves, write_metrics
from gmask_pl.report.media import log_to_wandb, scalars
from gmask_pl.report.page import write_page
from gmask_pl.report.table import format_table
from gmask_pl.store import write_explanations, write_pair_scores
from gmask_pl.types import JSON, Explanation, PairSource, UserError

EXPLANATIONS, PAGE, CONFIG = "explanations.parquet", "report.html", "config.yaml"
PAIR_SCORES = "pair_scores.parquet"
TRAINING = "training"  # where the logs of a training go that came first


def explain(cfg: DictConfig, folder: Path, name: str) -> JSON:
    """Runs the configured explainer and metrics; leaves everything in ``folder``.

    name: what the table and the page call the explainer. Returns what metrics.json holds.
    Without weights for this model and dataset it trains first.
    """
    explainer = instantiate(cfg.explainer)
    metrics = configured_metrics(cfg)
    source: PairSource = instantiate(cfg.dataset)
    trainer = make_trainer(cfg, loggers=[], callbacks=[], inference_mode=False)
    if trainer.world_size > 1:
        raise UserError(
            f"trainer: {trainer.world_size} devices, but a run explains on one: set "
            "trainer.devices=1 and trainer.num_nodes=1, and sweep to use more"
        )
    classifier = classifier_to_explain(cfg, source, folder)
    weights = weights_fingerprint(classifier)
    if cfg.reuse and (known := earlier_results(cfg, folder, weights)):
        print(format_table([(name, known)]))
        print(f"these results were there already (reuse=false computes them again): {folder}")
        return known
    seed_everything(cfg.seed, workers=True, verbose=False)
    data = data_module(
        cfg,
        source if cfg.pairs is None else OnlyPairs(source, cfg.split, cfg.pairs),
        classifier,
        unit=cfg.unit,
        explain_batch_size=cfg.batch_size,
        explain_split=cfg.split,
        limit=cfg.limit,
        limit_seed=cfg.limit_seed,
    )
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, folder / CONFIG, resolve=True)
    preparation = explainer.prepare(make_study(cfg, source, classifier))
    loop = ExplainLoop(classifier, explainer, token_budget=cfg.token_budget)
    trainer.predict(loop, data, return_predictions=False)
    found = loop.found
    write_explanations(folder / EXPLANATIONS, found, source.labels)
    results = cost(found) | model_facts(found, loop.truncated)
    results["model"]["weights"] = weights
    if preparation:
        results["preparation"] = preparation
        print(f"learnt from training pairs: {preparation}")
    scored, rows = score(
        metrics,
        trainer,
        classifier,
        data,
        found,
        labels=source.labels,
        token_budget=cfg.token_budget,
    )
    write_pair_scores(folder / PAIR_SCORES, rows)
    results |= scored
    report(cfg, folder, name, results, found, source.labels)
    return results


def earlier_results(cfg: DictConfig, folder: Path, weights: str) -> JSON | None:
    """What a run of the same settings and weights left in ``folder``; None where none did."""
    if not all((folder / name).is_file() for name in (CONFIG, PAIR_SCORES, METRICS_FILE)):
        return None
    known = read_metrics(folder)
    earlier: Any = OmegaConf.load(folder / CONFIG)
    same = deciding_settings(earlier) == deciding_settings(cfg)
    return known if same and known["model"].get("weights") == weights else None


def classifier_to_explain(cfg: DictConfig, source: PairSource, folder: Path) -> PairClassifier:
    """The model at ``weights``, else the one of this model and dataset, trained if need be.

    folder: of the run; a training logs into a folder of its own below it.
    """
    order = None if cfg.label_order is None else list(cfg.label_order)
    if cfg.weights is not None:
        return stored_classifier(cfg, source, cfg.weights, order)
    if order is not None:
        raise UserError(f"label_order={order} is said of weights=..., which is not set")
    if not Path(cfg.weights_dir).is_dir():
        print(
            f"no weights at {cfg.weights_dir}: training model={cfg.model.name} on "
            f"dataset={cfg.dataset.name} first (weights=... explains a model you have)"
        )
        own_logs: Any = OmegaConf.merge(cfg, {"log_dir": str(folder / TRAINING)})
        train(own_logs, source)
    return stored_classifier(cfg, source, cfg.weights_dir, None)


def cost(found: list[Explanation]) -> JSON:
    """Mean model evaluations and seconds a pair."""
    n = len(found)
    return {
        "cost": {
            "evaluations_per_pair": sum(e.evaluations for e in found) / n,
            "gradients_per_pair": sum(e.gradients for e in found) / n,
            "seconds_per_pair": sum(e.seconds for e in found) / n,
        }
    }


def model_facts(found: list[Explanation], truncated: int) -> JSON:
    """The model's accuracy on the labelled pairs, and the pairs it could not read whole."""
    labelled = [e for e in found if e.label is not None]
    right = sum(e.prediction == e.label for e in labelled)
    if truncated:
        print(f"{truncated} of {len(found)} pairs are longer than the model reads: truncated")
    return {
        "model": {
            "accuracy": right / len(labelled) if labelled else None,
            "n": len(labelled),
            "truncated": truncated,
        }
    }


def report(
    cfg: DictConfig,
    folder: Path,
    name: str,
    results: JSON,
    found: list[Explanation],
    labels: tuple[str, ...],
) -> None:
    """Files, page, loggers, and the table at the end."""
    write_metrics(folder, results)
    write_curves(folder, results)
    title = f"{name} · {cfg.model.name} · {cfg.dataset.name}"
    page = write_page(
        folder / PAGE,
        title=title,
        settings=page_settings(cfg),
        metrics=results,
        explanations=found,
        labels=labels,
        max_pairs=cfg.report.max_pairs,
    )
    loggers = make_loggers(cfg, explainer=name)
    for logger in loggers:
        _log(logger, results, found, page, labels, cfg.report.max_pairs)
    print(format_table([(name, results)]))
    print(f"report: {page}")


def _log(
    logger: Logger,
    results: JSON,
    found: list[Explanation],
    page: Path,
    labels: tuple[str, ...],
    max_rows: int,
) -> None:
    if isinstance(logger, WandbLogger):
        log_to_wandb(logger, results, found, page, labels=labels, max_rows=max_rows)
    else:
        logger.log_metrics(dict(scalars(results)))
        logger.save()
    logger.finalize("success")


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
