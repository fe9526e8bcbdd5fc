"""Scores explanations: metrics that ask the model, and metrics of what is known of the pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from torch import Tensor

from gmask_pl.explanation import Explanation
from gmask_pl.identity.parts import KIND, kind_of
from gmask_pl.loops import EVALUATIONS
from gmask_pl.masking.masked_model import removal_named
from gmask_pl.metrics.floor import EMPTY
from gmask_pl.metrics.pair_metric import ModelFreeMetric, PairMetric, RowMetric
from gmask_pl.processes import say
from gmask_pl.types import JSON, PairExample, PairScore, UserError


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of a run: ``asked`` by removal and name, ``model_free`` by name."""

    asked: dict[str, dict[str, PairMetric]]
    model_free: dict[str, ModelFreeMetric]


def configured_metrics(cfg: DictConfig) -> Metrics:
    """The chosen metrics, those that ask the model under every removal."""
    removals = metric_removals(cfg)
    asked: dict[str, PairMetric] = {}
    model_free: dict[str, ModelFreeMetric] = {}
    for name, value in cfg.metric.items():
        if name == "removal":
            continue
        metric = instantiate(value)
        if isinstance(metric, PairMetric):
            asked[name] = metric
        elif isinstance(metric, ModelFreeMetric):
            model_free[name] = metric
        else:
            raise UserError(
                f"metric.{name}._target_={value._target_} is neither a PairMetric nor a "
                "ModelFreeMetric"
            )
    return Metrics({removal: asked for removal in removals if asked}, model_free)


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
    tables: dict[tuple[str | None, str], list[Tensor]] = {}
    for batch in scores:
        rows: dict[tuple[str | None, str], list[tuple[float, ...]]] = {}
        for score in batch:
            rows.setdefault((score.removal, score.metric), []).append(score.row)
        for key, found in rows.items():
            tables.setdefault(key, []).append(torch.tensor(found, dtype=torch.float64))

    def table(removal: str, name: str) -> Tensor:
        return torch.cat(tables.get((removal, name), [torch.zeros(0, 1)]))

    by_removal: dict[str, JSON] = {
        removal: {
            name: _described(metric, metric.compute(table(removal, name), table(removal, EMPTY)))
            for name, metric in named.items()
        }
        for removal, named in metrics.asked.items()
    }
    first, *_ = by_removal
    results: JSON = dict(by_removal[first])
    if len(by_removal) > 1:
        results["by_removal"] = by_removal
    evaluations = sum(float(table(removal, EVALUATIONS).sum()) for removal in by_removal)
    results["scoring"] = {
        "evaluations_per_pair": evaluations / len(table(first, EMPTY)),
        "removals": list(by_removal),
    }
    return results


def model_free_results(
    metrics: Metrics,
    explanations: Iterable[Explanation],
    examples: Iterable[PairExample],
    labels: Sequence[str],
) -> tuple[JSON, list[PairScore]]:
    """The results of the metrics that ask the model nothing, and their numbers for every pair."""
    results: JSON = {}
    rows: list[PairScore] = []
    if not metrics.model_free:
        return results, rows
    by_id = {example.id: example for example in examples}
    for explanation in explanations:
        for metric in metrics.model_free.values():
            metric.update(explanation, by_id[explanation.id])
    for name, metric in metrics.model_free.items():
        if metric.left_out:
            say(
                f"{name} leaves out {metric.left_out} of {len(by_id)} pairs, as what was explained "
                "are not their words: unit=word counts them"
            )
        if (result := metric.compute(labels)) is not None:
            results[name] = _described(metric, result)
        rows += [PairScore(id, None, name, row) for id, row in metric.rows.items()]
    return results, rows


def _described(metric: RowMetric, result: JSON) -> JSON:
    """A result that says whose it is."""
    return result | {KIND: kind_of(f"{type(metric).__module__}.{type(metric).__qualname__}")}
