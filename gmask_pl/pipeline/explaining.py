"""Explains a model's predictions on test pairs, scores the explanations, and reports."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.utilities import rank_zero_only

from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.data.selection import OnlyPairs
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.learning import Study
from gmask_pl.files import damaged, limit_expanded, set_aside, write_text
from gmask_pl.identity.of_result import IDENTITY, Identity, identity_of_run
from gmask_pl.loops import ExplainLoop, ScoreLoop
from gmask_pl.masking.token_packing import TokenBudget
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.build import (
    check_loggers,
    data_module,
    make_trainer,
    model_identity,
    plain,
)
from gmask_pl.pipeline.damaged_folders import reading
from gmask_pl.pipeline.failures import (
    EXPLAINING,
    READING,
    SCORING,
    check_any_left,
    check_run,
    check_split,
)
from gmask_pl.pipeline.model_weights import classifier_to_explain
from gmask_pl.pipeline.output_places import check_places
from gmask_pl.pipeline.progress import EXPLAINED, SCORED, UNFINISHED, Progress
from gmask_pl.pipeline.removal_choice import CHECKS, settled
from gmask_pl.pipeline.report.console_table import format_table
from gmask_pl.pipeline.report.result_files import CURVES_FILE, METRICS_FILE, PAGE_FILE, read_metrics
from gmask_pl.pipeline.run_results import (
    CONFIG,
    EXPLANATIONS,
    PAIR_SCORES,
    WHAT_A_RUN_LEAVES,
    facts,
    log,
    report,
)
from gmask_pl.pipeline.run_settings import leave_out, read_config
from gmask_pl.pipeline.scoring import Metrics, asked_results, configured_metrics, model_free_results
from gmask_pl.pipeline.settings_check import check_settings
from gmask_pl.pipeline.training_pairs import make_study
from gmask_pl.processes import alone, meet, say
from gmask_pl.store import check_stored, read_explanations, write_explanations, write_pair_scores
from gmask_pl.types import JSON, PairSource, Unreadable, UserError

LOCK = ".lock"


def explain(cfg: DictConfig, folder: Path, name: str) -> JSON:
    """Runs the configured explainer and metrics; leaves everything in ``folder``.

    name: what the table and the page call the explainer. Returns what metrics.json holds; {} on
    processes that only help. Without weights for this model and dataset it trains first.

    Whatever was done before by the same settings on the same weights and pairs stands
    (``reuse=false``: does not): the results, else the batches of a run that was killed, else
    explanations that were scored by other metrics. Of two runs that would leave the same, one waits
    for the other.

    A pair that cannot be read, explained or scored is left out, and metrics.json says why; it is
    a UserError, at the end, if these are more than ``max_failed`` of all.
    """
    check_settings(cfg)
    check_places(cfg)
    limit_expanded(cfg.max_expanded_gb)
    check_run_folder(folder)
    explainer = instantiate(cfg.explainer)
    metrics = configured_metrics(cfg)
    source: PairSource = instantiate(cfg.dataset)
    unread = check_split(source, cfg.split, cfg.max_failed)
    chosen = source if cfg.pairs is None else OnlyPairs(source, cfg.split, cfg.pairs)
    trainer = make_trainer(cfg, loggers=[], callbacks=[], inference_mode=False)
    classifier = classifier_to_explain(cfg, source, folder)
    if settled(cfg, classifier, explainer, folder=Path(cfg.output) / CHECKS):
        explainer, metrics = instantiate(cfg.explainer), configured_metrics(cfg)
    data = data_module(
        cfg,
        chosen,
        classifier,
        unit=cfg.unit,
        explain_batch_size=cfg.batch_size,
        explain_split=cfg.split,
        limit=cfg.limit,
        limit_seed=cfg.limit_seed,
    )
    with alone(folder / LOCK, processes=cfg.trainer.devices):
        return run(cfg, folder, name, explainer, metrics, source, classifier, data, trainer, unread)


def run(
    cfg: DictConfig,
    folder: Path,
    name: str,
    explainer: Explainer,
    metrics: Metrics,
    source: PairSource,
    classifier: PairClassifier,
    data: PairDataModule,
    trainer: Trainer,
    unread: dict[str, str],
) -> JSON:
    """`explain` with its parts at hand. unread: the lines of the split that hold no pair."""
    pairs = data.explained
    model = model_identity(classifier, trainer)
    study = make_study(cfg, source, classifier, model)
    learnt_from = study.train() if explainer.learns else ()
    identity = identity_of_run(plain(cfg), model, pairs, learnt_from)
    if cfg.reuse and (known := earlier_results(folder, identity)):
        mend_config(cfg, folder)
        say(format_table([(name, known)]))
        say(f"these results were there already (reuse=false computes them again): {folder}")
        rank_zero_only(log)(cfg, folder, name, known, source.labels)
        check_run(known.get("failed", {}), len(pairs), cfg.max_failed)
        return known
    check_loggers(cfg)
    if len(pairs) < (there := len(data.source.load(cfg.split))):
        say(
            f"{len(pairs)} of {there} pairs, drawn by limit_seed={cfg.limit_seed} (limit=null: all)"
        )
    seed_everything(cfg.seed, workers=True, verbose=False)
    progress = Progress(folder, identity, rank=trainer.global_rank, labels=source.labels)
    if trainer.is_global_zero:
        begin(cfg, folder, progress, data)
    meet(trainer)  # before any process looks at what is done
    asking = {
        "token_budget": TokenBudget(cfg.token_budget),
        "response_cache": cfg.response_cache,
        "model": model.digest,
    }
    explain_batches(trainer, explainer, classifier, study, data, progress, **asking)
    score_batches(trainer, metrics, classifier, data, progress, **asking)
    if not trainer.is_global_zero:
        return {}
    failed = {
        READING: unread,
        EXPLAINING: progress.failed(EXPLAINED),
        SCORING: progress.failed(SCORED),
    }
    check_any_left(failed, len(pairs))
    set_aside(folder / METRICS_FILE, kept=os.path.isfile)
    (folder / METRICS_FILE).unlink(missing_ok=True)  # it comes back last: the run is whole then
    write_explanations(folder / EXPLANATIONS, progress.explanations(), source.labels)
    results = facts(read_explanations(folder / EXPLANATIONS))
    results["model"]["weights"] = model.weights
    if any(failed.values()):
        results["failed"] = failed
    if learnt := progress.preparation:
        results["preparation"] = learnt
    results |= asked_results(metrics, progress.scores())
    explanations = read_explanations(folder / EXPLANATIONS)
    others, rows = model_free_results(metrics, explanations, pairs, source.labels)
    results |= others
    asked = chain.from_iterable(progress.scores())
    write_pair_scores(folder / PAIR_SCORES, chain(asked, rows))
    report(cfg, folder, name, results, source.labels)
    identity.write(folder)
    progress.end()
    say(format_table([(name, results)]))
    say(f"report: {folder / PAGE_FILE}")
    log(cfg, folder, name, results, source.labels)
    check_run(failed, len(pairs), cfg.max_failed)
    return results


def begin(cfg: DictConfig, folder: Path, progress: Progress, data: PairDataModule) -> None:
    """Makes the run's folders, and says what is done already and what has changed."""
    try:
        with reading(folder):
            there = identity_in(folder)
            changed = [] if there is None else there.differences(progress.identity)
    except Unreadable:
        changed = [IDENTITY]
    if changed:
        say(f"{folder}: the results there are of other {' and '.join(changed)}: made again")
    progress.begin(afresh=not cfg.reuse)
    keep_config(cfg, folder)
    if not cfg.reuse or progress.done(EXPLAINED):
        return
    for other in sorted(folder.parent.iterdir()):
        try:
            if adopted(progress, other, data):
                return
        except Unreadable as error:
            leave_out(error)


def adopted(progress: Progress, other: Path, data: PairDataModule) -> bool:
    """Takes the explanations of another run, where they are the same.

    Raises Unreadable for a run that is damaged.
    """
    with reading(other):
        kept = identity_in(other)
        if kept is None or not kept.explains_as(progress.identity):
            return False
        if not all((other / name).is_file() for name in WHAT_A_RUN_LEAVES):
            return False
        known = read_metrics(other)
        check_stored(other / EXPLANATIONS)
    say(f"explanations are those of {other}: scored by other metrics")
    failed = known.get("failed", {}).get(EXPLAINING, {})
    progress.adopt(other / EXPLANATIONS, failed, data.batch_ids())
    progress.prepared_at(known.get("preparation", {}))
    return True


def explain_batches(
    trainer: Trainer,
    explainer: Explainer,
    classifier: PairClassifier,
    study: Study,
    data: PairDataModule,
    progress: Progress,
    **asking: Any,
) -> None:
    """Explains the batches of this process that are not explained yet."""
    left = begun(progress, EXPLAINED, data)
    if left or not progress.prepared:
        preparation = explainer.prepare(study)
        if trainer.is_global_zero:
            progress.prepared_at(preparation)
        if preparation:
            say(f"learnt from training pairs: {preparation}")
    if not left:
        return
    data.chosen = left[trainer.global_rank :: trainer.world_size]
    loop = ExplainLoop(classifier, explainer, data.chosen, progress.explained, **asking)
    trainer.predict(loop, data, return_predictions=False)
    finished(trainer, progress, EXPLAINED, data)


def score_batches(
    trainer: Trainer,
    metrics: Metrics,
    classifier: PairClassifier,
    data: PairDataModule,
    progress: Progress,
    **asking: Any,
) -> None:
    """Asks the model for the metrics about the batches of this process that are not scored yet."""
    explained = progress.done(EXPLAINED)
    if not metrics.asked or not (left := begun(progress, SCORED, data)):
        return
    data.chosen = left[trainer.global_rank :: trainer.world_size]
    loop = ScoreLoop(
        classifier,
        metrics.asked,
        data.chosen,
        lambda number: read_explanations(explained[number]),
        progress.scored,
        **asking,
    )
    trainer.predict(loop, data, return_predictions=False)
    finished(trainer, progress, SCORED, data)


def begun(progress: Progress, what: str, data: PairDataModule) -> list[int]:
    """The batches that are left to do; says how many an earlier run has done."""
    left = progress.left(what, data.batches)
    if 0 < len(left) < data.batches:
        say(f"{data.batches - len(left)} of {data.batches} batches were {what} before")
    return left


def finished(trainer: Trainer, progress: Progress, what: str, data: PairDataModule) -> None:
    """Waits for all processes. Raises UserError where one of them has left batches undone."""
    trainer.strategy.barrier()
    if left := progress.left(what, data.batches):
        raise UserError(
            f"{len(left)} of {data.batches} batches were not {what}, as a process has failed; "
            "start the same command again: it goes on where it was"
        )


def earlier_results(folder: Path, identity: Identity) -> JSON | None:
    """The results of the same settings, weights and pairs in ``folder``; None where none are.

    Of damaged ones it is told, and they are made again.
    """
    try:
        with reading(folder):
            whole = all((folder / name).is_file() for name in WHAT_A_RUN_LEAVES)
            if not whole or identity_in(folder) != identity:
                return None
            known = read_metrics(folder)
            check_stored(folder / EXPLANATIONS)
            check_stored(folder / PAIR_SCORES, scores=True)
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


def keep_config(cfg: DictConfig, folder: Path) -> None:
    write_text(folder / CONFIG, OmegaConf.to_yaml(cfg, resolve=True))


@rank_zero_only
def mend_config(cfg: DictConfig, folder: Path) -> None:
    """Writes the settings of results that are there anew, where they are damaged."""
    try:
        read_config(folder / CONFIG)
    except UserError as error:
        damaged(folder / CONFIG, error)
        keep_config(cfg, folder)


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
