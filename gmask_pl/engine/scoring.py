"""Scores explanations: metrics that ask the model, and metrics of what is known of the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from pytorch_lightning import Trainer

from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.engine.loops import ScoreLoop
from gmask_pl.masking import removal_named
from gmask_pl.metrics.base import PairMetric
from gmask_pl.metrics.known import KnownWords
from gmask_pl.models.base import PairClassifier
from gmask_pl.types import JSON, Explanation, PairScore, UserError


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of a run: ``asked`` by removal and name, ``known`` by name."""

    asked: dict[str, dict[str, PairMetric]]
    known: dict[str, KnownWords]


def configured_metrics(cfg: DictConfig) -> Metrics:
    """The chosen metrics, those that ask the model once for every removal."""
    settings = {name: value for name, value in cfg.metric.items() if name != "removal"}
    removals = metric_removals(cfg)
    first = {name: instantiate(value) for name, value in settings.items()}
    for name, metric in first.items():
        if not isinstance(metric, PairMetric | KnownWords):
            raise UserError(
                f"metric.{name}._target_={settings[name]._target_} is neither a PairMetric nor a "
                "KnownWords metric"
            )
    asked = [name for name, metric in first.items() if isinstance(metric, PairMetric)]
    return Metrics(
        asked={
            removal: {name: instantiate(settings[name]) for name in asked}
            for removal in removals
            if asked
        },
        known={name: metric for name, metric in first.items() if name not in asked},
    )


def metric_removals(cfg: DictConfig) -> list[str]:
    """The removals of the metrics, from one name or a list of distinct ones."""
    given = cfg.metric.removal
    removals = list(given) if isinstance(given, ListConfig) else [given]
    if not removals or len(set(removals)) < len(removals):
        raise UserError(
            f"metric.removal={removals}: give one removal, such as pad, or a list of different "
            "ones, such as [pad,mask]"
        )
    return [removal_named(name).name for name in removals]


def score(
    metrics: Metrics,
    trainer: Trainer,
    classifier: PairClassifier,
    data: PairDataModule,
    found: list[Explanation],
    *,
    labels: Sequence[str],
    token_budget: int,
) -> tuple[JSON, list[PairScore]]:
    """The results of all metrics, and their numbers for every pair.

    Results stand by metric, under the first removal; with several removals, ``by_removal`` holds
    them all. ``scoring``: the removals in order, and how many masked inputs the model answered
    for the metrics of one pair.
    """
    results: JSON = {}
    rows: list[PairScore] = []
    if metrics.asked:
        loop = ScoreLoop(
            classifier, {e.id: e for e in found}, metrics.asked, token_budget=token_budget
        )
        trainer.predict(loop, data, return_predictions=False)
        by_removal = {
            removal: {name: _described(metric, metric.compute()) for name, metric in named.items()}
            for removal, named in metrics.asked.items()
        }
        results |= next(iter(by_removal.values()))
        if len(by_removal) > 1:
            results["by_removal"] = by_removal
        results["scoring"] = {
            "evaluations_per_pair": loop.evaluations / len(found),
            "removals": list(by_removal),
        }
        rows += loop.pair_scores
    examples = {example.id: example for example in data.explained}
    for name, metric in metrics.known.items():
        for explanation in found:
            metric.update(explanation, examples[explanation.id])
        if metric.left_out:
            print(
                f"{name} leaves out {metric.left_out} of {len(found)} pairs, as their word pieces "
                "are not their words: unit=word counts them"
            )
        if (result := metric.compute(labels)) is not None:
            results[name] = _described(metric, result)
        rows += [PairScore(id, None, name, row) for id, row in metric.rows.items()]
    return results, rows


def _described(metric: PairMetric | KnownWords, result: dict[str, Any]) -> JSON:
    return result | ({"meaning": metric.meaning} if metric.meaning else {})
