"""A run of explain.py: pairs are explained, the explanations scored, and the results reported."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import seed_everything
from pytorch_lightning.utilities import rank_zero_only

from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.data.in_memory import OnlyPairs
from gmask_pl.data.pairs import Pairs
from gmask_pl.files import damaged, limit_expanded, write_text
from gmask_pl.identity.of_model import identity_of_model
from gmask_pl.identity.of_result import IDENTITY, Identity, identity_of_run
from gmask_pl.masking.token_packing import TokenBudget
from gmask_pl.models.units import encoder_of
from gmask_pl.pipeline.build import (
    check_loggers,
    loggers_of,
    make_trainer,
    page_of,
    plain,
    training_context,
)
from gmask_pl.pipeline.damaged_folders import reading
from gmask_pl.pipeline.failures import check_run, check_split, failed_pairs
from gmask_pl.pipeline.model_weights import classifier_to_explain
from gmask_pl.pipeline.output_places import check_places
from gmask_pl.pipeline.removal_choice import CHECKS, settled
from gmask_pl.pipeline.report.console_table import format_table
from gmask_pl.pipeline.report.result_files import CURVES_FILE, PAGE_FILE, read_metrics
from gmask_pl.pipeline.run_results import (
    CONFIG,
    EXPLANATIONS,
    PAIR_SCORES,
    WHAT_A_RUN_LEAVES,
    is_reported,
    log,
    report,
)
from gmask_pl.pipeline.run_settings import read_config
from gmask_pl.pipeline.scoring import configured_metrics
from gmask_pl.pipeline.settings_check import check_settings
from gmask_pl.pipeline.stages import UNFINISHED, Run, explain_pairs, score_explanations
from gmask_pl.processes import alone, say
from gmask_pl.store import check_stored
from gmask_pl.types import JSON, PairSource, Unreadable, UserError

LOCK = ".lock"
STORE = "explanations"  # below ``output``: explanations by what decides them


def explain(cfg: DictConfig, folder: Path, name: str) -> JSON:
    """Runs the configured explainer and metrics; leaves everything in ``folder``.

    name: what the table and the page call the explainer. Returns what metrics.json holds; {} on
    processes that only help. Without weights for this model and dataset it trains first.

    Whatever was done before by the same settings on the same weights and pairs stands
    (``reuse=false``: does not): the results, the explanations, whatever scored them, and the
    batches of a run that was killed. Of two runs that would leave the same, one waits for the
    other.

    A pair that cannot be read, explained or scored is left out, and metrics.json says why; it is
    a UserError, at the end, if these are more than ``max_failed`` of all.
    """
    check_settings(cfg)
    check_places(cfg)
    limit_expanded(cfg.max_expanded_gb)
    check_run_folder(folder)
    run = built(cfg, folder)
    trainer, ids = run.trainer, [pair.id for pair in run.data.explained]
    with alone(folder / LOCK, processes=trainer.world_size):
        known = earlier_results(folder, run.identity, ids) if cfg.reuse else None
        results = computed(cfg, folder, run) if known is None else known
        if not trainer.is_global_zero:
            return {}
        say(format_table([(name, results)]))
        if known is not None:
            say(f"these results were there already (reuse=false computes them again): {folder}")
        report_anew(cfg, folder, name, results)
        log(folder, results, loggers_of(cfg, explainer=name), cfg.report.max_pairs)
        check_run(results.get("failed", {}), len(ids), cfg.max_failed)
        return results


def computed(cfg: DictConfig, folder: Path, run: Run) -> JSON:
    """The results of a run, explained and scored; {} on processes that only help."""
    check_loggers(cfg)
    if (drawn := len(run.data.explained)) < (there := len(run.data.source.load(cfg.split))):
        say(f"{drawn} of {there} pairs, drawn by limit_seed={cfg.limit_seed} (limit=null: all)")
    say_what_changed(folder, run.identity)
    seed_everything(cfg.seed, workers=True, verbose=False)
    explained = explain_pairs(Path(cfg.output) / STORE, run, reuse=cfg.reuse)
    return score_explanations(folder, run, explained, settings=settings_text(cfg), reuse=cfg.reuse)


def built(cfg: DictConfig, folder: Path) -> Run:
    """The parts of a run into a folder, from its settings; a model that is not there is trained."""
    explainer = instantiate(cfg.explainer)
    metrics = configured_metrics(cfg)
    source: PairSource = instantiate(cfg.dataset)
    # Pairs whose labels are those of the model are read after it, the others before.
    if isinstance(source, Pairs) and not source.labels:
        source.check(cfg.split)
    known = classifier_to_explain(cfg, source, folder) if not source.labels else None
    unread = check_split(source, cfg.split, cfg.max_failed)
    chosen = source if cfg.pairs is None else OnlyPairs(source, cfg.split, cfg.pairs)
    trainer = make_trainer(cfg, inference_mode=False)
    classifier = known or classifier_to_explain(cfg, source, folder)
    model = identity_of_model(classifier, str(trainer.precision))
    if settled(cfg, classifier, explainer, model, folder=Path(cfg.output) / CHECKS):
        explainer, metrics = instantiate(cfg.explainer), configured_metrics(cfg)
    data = PairDataModule(
        source=chosen,
        encoder=encoder_of(classifier, cfg.unit),
        batch_size=cfg.model.fit.batch_size,
        explain_batch_size=cfg.batch_size,
        explain_split=cfg.split,
        limit=cfg.limit,
        limit_seed=cfg.limit_seed,
        workers=cfg.workers,
    )
    training = training_context(cfg, source, classifier, model)
    learnt_from = training.train() if explainer.learns else ()
    return Run(
        identity=identity_of_run(plain(cfg), model, data.explained, learnt_from),
        explainer=explainer,
        training=training,
        metrics=metrics,
        trainer=trainer,
        classifier=classifier,
        model=model,
        data=data,
        token_budget=TokenBudget(cfg.token_budget),
        response_cache=cfg.response_cache,
        responses=cfg.responses,
        unread=unread,
    )


@rank_zero_only
def say_what_changed(folder: Path, identity: Identity) -> None:
    """Says how results that are there differ from those that will take their place."""
    try:
        with reading(folder):
            there = identity_in(folder)
            changed = [] if there is None else there.differences(identity)
    except Unreadable:
        changed = [IDENTITY]
    if changed:
        say(f"{folder}: the results there are of other {' and '.join(changed)}: made again")


def report_anew(cfg: DictConfig, folder: Path, name: str, results: JSON) -> None:
    """Makes the report of the results in a folder, unless one of the same settings is there whole.

    The settings that the folder keeps say what it was made of; where they are damaged, or others,
    they are written anew in the end.
    """
    page = page_of(cfg, name)
    try:
        with reading(folder / CONFIG):
            same = page_of(read_config(folder / CONFIG), name) == page
    except Unreadable as error:
        damaged(folder / CONFIG, error.reason)
        same = False
    if not same or not is_reported(folder, results):
        report(folder, page, results)
        say(f"report: {folder / PAGE_FILE}")
    if not same:
        write_text(folder / CONFIG, settings_text(cfg))


def settings_text(cfg: DictConfig) -> str:
    return OmegaConf.to_yaml(cfg, resolve=True)


def earlier_results(folder: Path, identity: Identity, ids: Collection[str]) -> JSON | None:
    """The results of the same settings, weights and pairs in ``folder``; None where none are.

    Of damaged ones, or of some of the pairs alone, it is told, and they are made again.
    """
    try:
        with reading(folder):
            whole = all((folder / name).is_file() for name in WHAT_A_RUN_LEAVES)
            if not whole or identity_in(folder) != identity:
                return None
            known = read_metrics(folder)
            check_stored(folder / EXPLANATIONS, ids)
            # Metrics that ask the model, where there are any, have numbers of every pair.
            scored = set(ids) if "scoring" in known else set()
            scored -= failed_pairs(known.get("failed", {})).keys()
            check_stored(folder / PAIR_SCORES, scored, scores=True)
            return known
    except Unreadable as error:
        say(f"{error}: made again")
        return None


def identity_in(folder: Path) -> Identity | None:
    """The identity of the results in a folder; None where there is none.

    Raises ValueError for one that is damaged.
    """
    found = Identity.read(folder)
    if found is None and (folder / IDENTITY).exists():
        raise ValueError(f"{IDENTITY} holds no identity")
    return found


def check_run_folder(folder: Path) -> None:
    """Raises UserError where files lie that a run would replace, and no run has made."""
    names = (*WHAT_A_RUN_LEAVES, PAGE_FILE, CURVES_FILE)
    there = [name for name in names if os.path.lexists(folder / name)]
    ours = any(os.path.lexists(folder / name) for name in (IDENTITY, LOCK))
    if there and not ours and not any(folder.glob(f"{UNFINISHED}*")):
        raise UserError(
            f"{folder} holds {', '.join(there)}, which no run has made and this one would replace: "
            "move them away, or let the run go elsewhere, by output=FOLDER"
        )
