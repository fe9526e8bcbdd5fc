"""The stages of a run that ask the model: pairs are explained, and explanations are scored.

Each is named by an identity, reads files, and leaves its own whole or not at all. Killed at any
time, it goes on where it was, to files that are equal to the last bit, the seconds aside.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from pytorch_lightning import Trainer

from gmask_pl.data.datamodule import PairDataModule
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explainers.training_context import TrainingContext
from gmask_pl.explanation import Explanation
from gmask_pl.files import set_aside, whole_file, write_text
from gmask_pl.identity.of_model import ModelIdentity
from gmask_pl.identity.of_result import Identity
from gmask_pl.loops import AskingLoop, ExplainLoop, ScoreLoop
from gmask_pl.masking.token_packing import TokenBudget
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.pipeline.damaged_folders import json_object, reading
from gmask_pl.pipeline.failures import EXPLAINING, READING, SCORING, check_any_left
from gmask_pl.pipeline.progress import EXPLAINED, SCORED, Progress
from gmask_pl.pipeline.report.result_files import METRICS_FILE, PAGE_FILE, write_metrics
from gmask_pl.pipeline.run_results import CONFIG, EXPLANATIONS, LOGGED, PAIR_SCORES, facts
from gmask_pl.pipeline.scoring import Metrics, asked_results, model_free_results
from gmask_pl.processes import alone, meet, say
from gmask_pl.question import PREDICTED
from gmask_pl.store import (
    check_stored,
    read_costs,
    read_explanations,
    read_failed,
    read_pair_scores,
    write_explanations,
    write_pair_scores,
)
from gmask_pl.types import JSON, PairScore, UserError

PREPARATION = "preparation.json"  # what learning from training pairs cost
UNFINISHED = "unfinished-"


@dataclass(frozen=True, slots=True)
class Run:
    """What is explained and scored, by all processes of a Trainer.

    model: the identity of the classifier. response_cache: see `AskingLoop`. responses: see
    `ExplainLoop`. unread: the lines of the split that hold no pair.
    """

    identity: Identity
    explainer: Explainer
    training: TrainingContext
    metrics: Metrics
    trainer: Trainer
    classifier: PairClassifier
    model: ModelIdentity
    data: PairDataModule
    token_budget: TokenBudget
    response_cache: str | None
    responses: bool
    unread: dict[str, str]

    def predict(
        self, progress: Progress[Explanation] | Progress[PairScore], loop: Callable[..., AskingLoop]
    ) -> None:
        """Sends the batches that are left through a loop, which keeps what it finds of them.

        Raises UserError where one of the processes has left batches undone.
        """
        done, count = progress.done, self.data.batches
        left = progress.left(count)
        if 0 < len(left) < count:
            say(f"{count - len(left)} of {count} batches were {done} before")
        if left:
            self.data.chosen = left[self.trainer.global_rank :: self.trainer.world_size]
            asking = loop(
                self.classifier,
                batches=self.data.chosen,
                keep=progress.keep,
                token_budget=self.token_budget,
                response_cache=self.response_cache,
                model=self.model.digest,
                question=self.training.question,
            )
            self.trainer.predict(asking, self.data, return_predictions=False)
        self.trainer.strategy.barrier()
        left = progress.left(count)
        self.trainer.strategy.barrier()  # before a process moves what another one counts
        if left:
            raise UserError(
                f"{len(left)} of {count} batches were not {done}, as a process has failed; start "
                "the same command again: it goes on where it was"
            )


def explain_pairs(store: Path, run: Run, *, reuse: bool) -> Path:
    """The folder below ``store`` with the explanations of a run; makes what is lacking.

    It holds them, why pairs have none, and what learning from training pairs cost. Whatever scores
    them, and however often, they are made once. reuse: False makes them anew.
    """
    identity, training = run.identity.of_explanations, run.training
    folder, trainer = store / identity.digest, run.trainer
    explanations, preparation = folder / EXPLANATIONS, folder / PREPARATION
    check = partial(check_stored, ids=[pair.id for pair in run.data.explained])
    progress = Progress(
        folder,
        identity,
        EXPLAINED,
        rank=trainer.global_rank,
        ids=run.data.batch_ids(),
        write=partial(write_explanations, labels=training.labels),
        read=read_explanations,
        others={EXPLANATIONS: check, PREPARATION: read_preparation},
    )
    with alone(store / f".{identity.digest}.lock", processes=trainer.world_size):
        if trainer.is_global_zero:
            progress.begin(afresh=not reuse)
        meet(trainer)  # before any process looks at what is done
        there = explanations.is_file()
        if there:
            say(f"explanations of the same explainer, model and pairs are there: {folder}")
        left = not there and progress.left(run.data.batches)
        prepared = preparation.is_file()
        trainer.strategy.barrier()  # before one of them leaves what another one looks for
        if left or not prepared:
            cost = run.explainer.prepare(training)
            if cost:
                say(f"learnt from training pairs: {cost}")
            if trainer.is_global_zero:
                write_text(preparation, json.dumps(cost))
        if not there:
            loop = partial(ExplainLoop, explainer=run.explainer, responses=run.responses)
            run.predict(progress, loop)
        if trainer.is_global_zero:
            if not there:
                found = chain.from_iterable(progress.rows())
                write_explanations(explanations, found, training.labels, progress.failed())
            progress.drop_batches()
        trainer.strategy.barrier()
    return folder


def score_explanations(
    folder: Path, run: Run, explained: Path, *, settings: str, reuse: bool
) -> JSON:
    """Scores the explanations in ``explained``, as `explain_pairs` left them, and copies them.

    ``folder`` then holds them, the identity, the ``settings`` (YAML), the numbers of every pair and
    last their averages, which are returned; {} on processes that only help. reuse: False scores
    anew. Raises UserError where no pair is left.
    """
    trainer, pairs = run.trainer, run.data.explained
    known = read_costs(explained / EXPLANATIONS)
    progress = Progress(
        folder / f"{UNFINISHED}{run.identity.digest}",
        run.identity,
        SCORED,
        rank=trainer.global_rank,
        ids=([id for id in ids if id in known] for ids in run.data.batch_ids()),
        write=write_pair_scores,
        read=read_pair_scores,
        others={},
    )
    if trainer.is_global_zero:
        progress.begin(afresh=not reuse)
    meet(trainer)  # before any process looks at what is done
    if run.metrics.asked:
        batches = by_batch(explained / EXPLANATIONS, run.data.batch_ids())
        loop = partial(
            ScoreLoop,
            metrics=run.metrics.asked,
            explained=lambda number: next(found for index, found in batches if index == number),
        )
        run.predict(progress, loop)
    if not trainer.is_global_zero:
        return {}
    failed = {
        READING: run.unread,
        EXPLAINING: read_failed(explained / EXPLANATIONS),
        SCORING: progress.failed(),
    }
    check_any_left(failed, len(pairs))
    # Before anything of an earlier run goes.
    results = facts(read_explanations(explained / EXPLANATIONS))
    results["model"]["weights"] = run.model.weights
    if run.training.question != PREDICTED:
        results["question"] = run.training.question.name
    if any(failed.values()):
        results["failed"] = failed
    if cost := read_preparation(explained / PREPARATION):
        results["preparation"] = cost
    results |= asked_results(run.metrics, progress.rows())
    found = read_explanations(explained / EXPLANATIONS)
    others, rows = model_free_results(run.metrics, found, pairs, run.classifier.labels)
    results |= others
    for name in (METRICS_FILE, PAGE_FILE):  # of an earlier identity
        set_aside(folder / name, kept=os.path.isfile)
        (folder / name).unlink(missing_ok=True)
    with whole_file(folder / EXPLANATIONS) as draft:
        shutil.copyfile(explained / EXPLANATIONS, draft)
    run.identity.write(folder)
    write_text(folder / CONFIG, settings)
    scored = chain.from_iterable(progress.rows()) if run.metrics.asked else ()
    write_pair_scores(folder / PAIR_SCORES, chain(scored, rows))
    write_text(folder / LOGGED, "[]\n")
    write_metrics(folder, results)
    progress.end()
    return results


def by_batch(
    file: Path, batches: Iterable[Sequence[str]]
) -> Iterator[tuple[int, list[Explanation]]]:
    """The explanations in a file by the number of their batch, of whose pairs some may have none.

    batches: the ids of each.
    """
    found = read_explanations(file)
    ahead = next(found, None)
    for number, ids in enumerate(batches):
        own: list[Explanation] = []
        while ahead is not None and ahead.id in ids:
            own.append(ahead)
            ahead = next(found, None)
        yield number, own


def read_preparation(file: Path) -> JSON:
    """What learning from training pairs cost, empty where nothing was learnt."""
    with reading(file):
        return json_object(file)
