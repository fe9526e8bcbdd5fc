"""The parts of a run, built from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger

from gmask_pl.command_names import command_name
from gmask_pl.data.datamodule import word_counts
from gmask_pl.explainers.training_context import TrainingContext
from gmask_pl.identity.of_model import ModelIdentity, cut_by
from gmask_pl.identity.parts import described
from gmask_pl.identity.setting_roles import EXPLAIN, Told, told_settings
from gmask_pl.masking.token_packing import TokenBudget
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.models.units import encoder_of
from gmask_pl.pipeline.failures import check_split
from gmask_pl.pipeline.report.tensorboard_media import check_tensorboard
from gmask_pl.pipeline.report.wandb_media import check_wandb
from gmask_pl.pipeline.run_results import telling_loggers
from gmask_pl.pipeline.scoring import metric_removals
from gmask_pl.processes import new_trainer
from gmask_pl.question import Question
from gmask_pl.types import JSON, PairExample, PairSource, UserError


def weights_to_ask(cfg: DictConfig) -> str:
    """Where the weights of the model are. Raises UserError where they would have to be trained."""
    weights: str = cfg.weights or cfg.weights_dir
    if cfg.weights is None and not Path(weights).is_dir():
        train = command_name("train")
        raise UserError(f"no weights at {weights}: give weights=FOLDER, or run {train} first")
    return weights


def fresh_classifier(cfg: DictConfig, source: PairSource) -> PairClassifier:
    """An untrained model for the dataset's labels and training words."""
    if not source.labels:
        raise UserError(
            f"dataset={cfg.dataset.name}: dataset.labels=null is of a model that is there, "
            "weights=...: name the labels to train one, as in dataset.labels=[no,yes]"
        )
    model, settings = network_of(cfg)
    counts = word_counts(source.load("train"))
    return model.from_data(labels=source.labels, word_counts=counts, **settings)


def stored_classifier(
    cfg: DictConfig, source: PairSource, weights: str | Path, label_order: Sequence[Any] | None
) -> PairClassifier:
    """The model at ``weights``, ready to be asked: frozen and in evaluation mode."""
    if Path(weights).is_file():
        raise UserError(f"weights={weights}: this is a file; give the folder that it lies in")
    model, settings = network_of(cfg)
    order = None if label_order is None else [str(label) for label in label_order]
    labels = source.labels or None
    classifier = model.from_weights(weights, labels=labels, label_order=order, **settings)
    source.labels = classifier.labels
    # Its class, and the settings that may change its answers.
    net = described({"model": {"net": plain(cfg.model.net)}})
    classifier.made_with = told_settings(net, EXPLAIN, {Told.MODEL})["model"]["net"]
    classifier.requires_grad_(False)
    return classifier.eval()


def network_of(cfg: DictConfig) -> tuple[type[PairClassifier], dict[str, Any]]:
    """The class of the model, and its settings."""
    settings = plain(cfg.model.net)
    model = get_class(settings.pop("_target_"))
    if not issubclass(model, PairClassifier):
        raise UserError(f"model.net._target_={model.__name__} is not a PairClassifier")
    return model, settings


def training_context(
    cfg: DictConfig, source: PairSource, classifier: PairClassifier, model: ModelIdentity
) -> TrainingContext:
    """The training pairs of the run's dataset, its model, its Trainer, and a folder.

    model: the identity of the classifier.
    """

    def train() -> Sequence[PairExample]:
        try:
            check_split(source, "train", cfg.max_failed)
            return source.load("train")
        except UserError as error:
            raise UserError(
                f"this explainer learns from training pairs, and they cannot be read: {error}. "
                "Give dataset.path=FOLDER with a train split, as in dataset=pairs a train.jsonl "
                "with text1 and text2 (labels are not needed), or choose an explainer that learns "
                "nothing"
            ) from None

    return TrainingContext(
        classifier=classifier,
        encode=encoder_of(classifier, cfg.unit),
        train=train,
        labels=source.labels,
        removal=cfg.model.removal,
        trainer=partial(make_trainer, cfg),
        token_budget=TokenBudget(cfg.token_budget),
        batch_size=cfg.model.fit.batch_size,
        workers=cfg.workers,
        folder=Path(cfg.explainers_dir),
        identity={
            "model": model.told,
            "unit": cfg.unit if isinstance(cfg.unit, str) else list(cfg.unit),
            **cut_by(getattr(source, "segment", None)),
        },
        question=question_of(cfg, classifier),
    )


def question_of(cfg: DictConfig, classifier: PairClassifier) -> Question:
    """What is asked, as the settings have it. Raises UserError for what the model cannot be."""
    asked: dict[str, Any] = dict(cfg.get("question") or {})
    for key in ("target", "against"):
        if asked.get(key) is not None:
            asked[key] = str(asked[key])
    try:
        return classifier.question(**asked)
    except UserError as error:
        raise UserError(f"question.{error}") from None


def make_trainer(cfg: DictConfig, **settings: Any) -> Trainer:
    """The configured Trainer with further settings; without loggers, where they name none.

    See `processes.new_trainer`.
    """
    given = {"logger": [], "precision": cfg.trainer.get("precision")} | settings
    return new_trainer(partial(instantiate, cfg.trainer), **given)


def loggers_of(cfg: DictConfig, **choices: str) -> dict[str, Callable[[], Logger]]:
    """What makes each of the chosen loggers, by name; logger=[] leaves no such key.

    A logger is told the whole configuration and, as ``run``, what to group it by. choices: what
    the configuration does not name, such as the explainer.
    """
    return {
        name: partial(_logger, cfg, name, choices) for name in map(str, cfg.get("logger") or {})
    }


def _logger(cfg: DictConfig, name: str, choices: Mapping[str, str]) -> Logger:
    """Raises UserError where it cannot be reached."""
    with telling_loggers(name):
        logger: Logger = instantiate(cfg.logger[name])
        run = {"model": cfg.model.name, "dataset": cfg.dataset.name, "seed": cfg.seed, **choices}
        logger.log_hyperparams(plain(cfg) | {"run": run})
    return logger


def check_loggers(cfg: DictConfig) -> None:
    """Raises UserError for a logger that cannot be reached, before there is anything to log."""
    checks = {"wandb_logger": check_wandb, "tensorboard_logger": check_tensorboard}
    for name in loggers_of(cfg):
        made_by = str(cfg.logger[name].get("_target_", "")).rpartition(".")[2]
        if made_by in checks:
            with telling_loggers(name):
                checks[made_by]()


def page_of(cfg: DictConfig, explainer: str) -> JSON:
    """What `write_page` is told of a run; of settings that are read from a run's folder, too."""
    settings = plain(cfg)
    removals = metric_removals(cfg)
    curves = f" (curves: {removals[0]})" if len(removals) > 1 else ""
    shown = {
        "model": settings["weights"] or settings["weights_dir"],
        "dataset": settings["dataset"].get("path") or settings["dataset"]["name"],
        "split": settings["split"],
        "unit": settings["unit"],
        "removal (explainer)": settings["explainer"]["removal"],
        "removal (metrics)": ", ".join(removals) + curves,
        "seed": settings["seed"],
    }
    asked = {key: value for key, value in settings.get("question", {}).items() if value is not None}
    shown |= {f"question.{key}": value for key, value in asked.items()}
    title = f"{explainer} · {cfg.model.name} · {cfg.dataset.name}"
    return {"title": title, "settings": shown, "max_pairs": settings["report"]["max_pairs"]}


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain containers."""
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]
