"""The settings of a run itself, which no constructor takes: their names, types and ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger, Logger

from gmask_pl.data.source import SPLITS
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.masking.masked_model import RemovalName
from gmask_pl.metrics.pair_metric import ModelFreeMetric, PairMetric
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.models.units import SCORED
from gmask_pl.settings import (
    Count,
    Label,
    NotNegative,
    OneOf,
    Positive,
    Seed,
    Share,
    Whole,
    at_least,
)
from gmask_pl.types import PairSource

Unit = Annotated[str, OneOf(SCORED)]


class Fit(TypedDict):
    batch_size: Count
    max_epochs: Count
    patience: Whole
    gradient_clip: NotNegative | None


class Model(TypedDict):
    """What a model's file says beside the network: what other groups read of it.

    ``explainers`` may hold better values than their own: what files of explainers read of it.
    """

    name: str
    removal: RemovalName
    net: PairClassifier
    fit: Fit


class Train(TypedDict):
    """The settings of train.py."""

    dataset: PairSource
    model: Model
    trainer: Trainer
    logger: NotRequired[Mapping[str, Logger]]  # logger=[] leaves no such key
    collect: NotRequired[Mapping[str, Any]]  # of an experiment: what is made of its runs
    seed: Seed
    output: str
    log_dir: str
    weights_dir: str
    reuse: bool
    workers: Whole
    max_expanded_gb: Positive
    max_failed: Share
    run_name: str


class Metric(TypedDict):
    removal: RemovalName | Sequence[RemovalName]


class Asked(TypedDict):
    target: Label | None
    against: Label | None
    threshold: float | None
    reference: float | None


class Report(TypedDict):
    max_pairs: Whole


class Explain(Train):
    """The settings of explain.py and PairExplainer."""

    explainer: Explainer
    metric: Metric
    report: Report
    question: NotRequired[Asked]  # runs of earlier versions have none
    weights: str | None
    label_order: Sequence[Label] | None
    split: Annotated[str, OneOf(SPLITS)]
    limit: Count | None
    limit_seed: Seed
    pairs: Sequence[tuple[str, str]] | None
    unit: Unit | Sequence[Unit]
    batch_size: Count
    response_cache: str | None
    responses: NotRequired[bool]  # runs of earlier versions have none
    token_budget: Count | None
    explainers_dir: str


class Dashboard(Explain):
    """The settings of gmask-dashboard."""

    entity: str | None
    project: str
    out: str | None
    save: bool


class OfTrainer(TypedDict):
    """What Lightning's own annotations leave open of a Trainer."""

    accelerator: str
    strategy: str
    devices: Count | Literal["auto", -1] | Sequence[Whole]
    num_nodes: Count
    deterministic: bool | Literal["warn"]
    num_sanity_val_steps: Annotated[int, at_least(-1)]
    log_every_n_steps: Whole
    enable_model_summary: bool


class OfCSVLogger(TypedDict):
    save_dir: str
    name: str | None
    version: str | int | None


# Of settings by their names: every key that they do not name holds such a part.
OTHERS: dict[Any, Any] = {Metric: PairMetric | ModelFreeMetric}
STRANGERS: dict[Any, Any] = {Trainer: OfTrainer, CSVLogger: OfCSVLogger}
# What code gives a Trainer, and the setting that says it.
BY_CODE: dict[Any, dict[str, str]] = {
    Trainer: {
        "max_epochs": "model.fit.max_epochs",
        "gradient_clip_val": "model.fit.gradient_clip",
        "logger": "logger",
        "callbacks": "",
        "plugins": "",
        "enable_checkpointing": "",
        "use_distributed_sampler": "",
        "inference_mode": "",
    }
}
