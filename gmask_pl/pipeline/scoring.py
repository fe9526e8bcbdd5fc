"""Scores explanations: metrics that ask the model, and metrics of what is known of the pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig

from gmask_pl.loops import EVALUATIONS
from gmask_pl.masking.masked_model import removal_named
from gmask_pl.metrics.faithfulness.floor import EMPTY
from gmask_pl.metrics.model_free import KnownWords
from gmask_pl.metrics.pair_metric import PairMetric
from gmask_pl.processes import say
from gmask_pl.types import JSON, Explanation, PairExample, PairScore, UserError


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
    made = Metrics(
        asked={
            removal: {name: instantiate(settings[name]) for name in asked}
            for removal in removals
            if asked
        },
        known={name: metric for name, metric in first.items() if name not in asked},
    )
    for named in made.asked.values():
        for metric in named.values():
            # One process computes, from what all of them have left on disk.
            metric.distributed_available_fn = lambda: False
    return made


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


def asked_results(metrics: Metrics, scores: Iterable[list[PairScore]]) -> JSON:
    """The results of the metrics that ask the model, from the scores of all batches.

    Results stand by metric, under the first removal; with several removals, ``by_removal`` holds
    them all. Each says what the empty pair gives beside it, where it can. ``scoring``: the
    removals in order, and how many masked inputs the model answered for the metrics of one pair.
    """
    if not metrics.asked:
        return {}
    evaluations, pairs = 0.0, 0
    empty: dict[str, list[tuple[float, ...]]] = {removal: [] for removal in metrics.asked}
    for batch in scores:
        rows: dict[tuple[str | None, str], list[tuple[float, ...]]] = {}
        for score in batch:
            rows.setdefault((score.removal, score.metric), []).append(score.row)
        for removal, named in metrics.asked.items():
            empty[removal] += rows[removal, EMPTY] if batch else ()
            for name, metric in named.items() if batch else ():
                metric.take(torch.tensor(rows[removal, name], dtype=torch.float64))
            evaluations += sum(count for (count,) in rows.get((removal, EVALUATIONS), ()))
        pairs += len({score.id for score in batch})
    by_removal: dict[str, JSON] = {}
    for removal, named in metrics.asked.items():
        beside = torch.tensor(empty[removal], dtype=torch.float64)
        by_removal[removal] = {
            name: _described(metric, metric.compute() | metric.beside(beside))
            for name, metric in named.items()
        }
    results: JSON = dict(next(iter(by_removal.values())))
    if len(by_removal) > 1:
        results["by_removal"] = by_removal
    results["scoring"] = {"evaluations_per_pair": evaluations / pairs, "removals": list(by_removal)}
    return results


def known_results(
    metrics: Metrics,
    explanations: Iterable[Explanation],
    examples: Iterable[PairExample],
    labels: Sequence[str],
) -> tuple[JSON, list[PairScore]]:
    """The results of the metrics that ask the model nothing, and their numbers for every pair."""
    results: JSON = {}
    rows: list[PairScore] = []
    if not metrics.known:
        return results, rows
    by_id = {example.id: example for example in examples}
    for explanation in explanations:
        for metric in metrics.known.values():
            metric.update(explanation, by_id[explanation.id])
    for name, metric in metrics.known.items():
        if metric.left_out:
            say(
                f"{name} leaves out {metric.left_out} of {len(by_id)} pairs, as their word pieces "
                "are not their words: unit=word counts them"
            )
        if (result := metric.compute(labels)) is not None:
            results[name] = _described(metric, result)
        rows += [PairScore(id, None, name, row) for id, row in metric.rows.items()]
    return results, rows


def _described(metric: PairMetric | KnownWords, result: dict[str, Any]) -> JSON:
    told: dict[str, Any] = {"meaning": metric.meaning} if metric.meaning else {}
    if isinstance(metric, PairMetric) and (parts := metric.parts.keys() & result.keys()):
        told["parts"] = {name: metric.parts[name] for name in parts}
    return result | told
