"""The loops over a test set, as LightningModules for `Trainer.predict`."""

from __future__ import annotations

import ctypes
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from gmask_pl.certificates import certified
from gmask_pl.explainers.explainer import Explainer
from gmask_pl.explanation import TRUNCATED, Explanation
from gmask_pl.identity.of_model import identity_of_model
from gmask_pl.identity.of_pairs import pair_keys
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.masking.response_cache import ResponseCache
from gmask_pl.masking.response_record import ResponseRecord
from gmask_pl.masking.token_packing import TokenBudget, out_of_memory
from gmask_pl.metrics.floor import EMPTY
from gmask_pl.metrics.pair_metric import PairMetric, evaluate
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.question import PREDICTED, SCORE, Question
from gmask_pl.types import Attributions, NoAnswer, PairBatch, PairScore, PairsFailed

_log = logging.getLogger(__name__)
EVALUATIONS = "evaluations"
NO_MEMORY = "memory ran out over the masks of this pair: use a machine with more, or a shorter text"
# Takes the number of a batch, its explanations, and by id why a pair has none.
Keep = Callable[[int, list[Explanation], dict[str, str]], None]


def removal_of(explainer: Explainer, classifier: PairClassifier) -> str:
    """How an explainer removes words: as it says, and else as the model usually does."""
    return explainer.removal or classifier.usual_removal


def trim_memory() -> None:
    """Gives the memory that is free back to the system, where the C library can (glibc).

    Tensors of ever other sizes leave gaps in its heap, and a process would grow with its pairs.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


class AskingLoop(LightningModule):
    """A loop that asks a classifier about masked pairs.

    batches: the numbers of the batches that the loader will give, in their order.
    budget: the most masked inputs of a pair that the model may be asked about; None: any number.
    question: what is asked; None: what the model's outputs mean, without a target.
    response_cache: a folder where answers are kept for other runs, and found; None: nowhere. model:
    the digest of the classifier's identity; None is found out where it is needed.
    """

    def __init__(
        self,
        classifier: PairClassifier,
        batches: Sequence[int],
        *,
        token_budget: TokenBudget | int,
        question: Question | None = None,
        budget: int | None = None,
        response_cache: str | Path | None = None,
        model: str | None = None,
    ) -> None:
        super().__init__()
        self.budget = budget
        self.question = question or classifier.question()
        # There may be fewer batches than processes.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.classifier, self.batches = classifier, batches
        self.token_budget, self.response_cache, self._model = token_budget, response_cache, model

    def without_failures(self, batch: PairBatch, do: Callable[[PairBatch], None]) -> dict[str, str]:
        """Does ``do`` for as many pairs of a batch as it can be done for.

        Whenever it raises PairsFailed it is done again without these pairs, and where memory runs
        out or the model fails, pair by pair. Returns the reason of each that failed, by id.
        """
        failed: dict[str, str] = {}
        waiting = [batch]
        while waiting:
            own = waiting.pop(0)
            if not len(own):
                continue
            try:
                do(own)
                continue
            except PairsFailed as error:
                failed |= {own.ids[row]: reason for row, reason in error.reasons.items()}
                rows = [[i for i in range(len(own)) if i not in error.reasons]]
            except (RuntimeError, MemoryError, NoAnswer) as error:
                if not isinstance(error, NoAnswer) and not out_of_memory(error):
                    raise
                reason = str(error) if isinstance(error, NoAnswer) else NO_MEMORY
                alone = len(own) == 1
                failed |= {own.ids[0]: reason} if alone else {}
                rows = [] if alone else [[i] for i in range(len(own))]
            # Outside the handler, whose error holds on to what was allocated.
            waiting = [own.select(some).narrowed() for some in rows] + waiting
            trim_memory()
        return failed

    @contextmanager
    def asked(
        self, batch: PairBatch, removal: str, record: ResponseRecord | None = None
    ) -> Iterator[MaskedModel]:
        """The masked model of a batch; its new answers are kept in the end."""
        cache = None
        if self.response_cache is not None:
            outputs = 1 if self.classifier.outputs == SCORE else len(self.classifier.labels)
            cache = ResponseCache(
                self.response_cache,
                self.keys(batch, removal),
                classes=outputs,
                # What a function refers to, such as a service, may have changed unseen.
                doubted=self.classifier.declared is not None,
            )
        yield MaskedModel(
            self.classifier,
            batch,
            removal,
            question=self.question,
            budget=self.budget,
            token_budget=self.token_budget,
            response_cache=cache,
            record=record,
        )
        if cache is not None:
            cache.keep()

    def keys(self, batch: PairBatch, removal: str, *, asked: bool = False) -> list[str]:
        """A name for everything that the model's outputs about each pair depend on.

        asked: and what is read from them.
        """
        if self._model is None:
            self._model = identity_of_model(self.classifier, str(self.trainer.precision)).digest
        keys = pair_keys(batch, self._model, removal)
        told = asked and self.question != PREDICTED
        return [f"{key} {self.question}" for key in keys] if told else keys

    def on_predict_batch_end(self, *batch: Any) -> None:
        trim_memory()
        if self.trainer.received_sigterm:  # which Lightning notes, and goes on with a prediction
            _log.info("asked to end: what is done is kept, and the same command goes on from there")
            sys.exit(128 + signal.SIGTERM)


class ExplainLoop(AskingLoop):
    """Explains every batch and hands its explanations to ``keep``, with the batch's number.

    And the pairs that cannot be explained, with the reason of each by id. responses: whether
    explanations hold what the model said of every mask.
    """

    def __init__(
        self,
        classifier: PairClassifier,
        explainer: Explainer,
        batches: Sequence[int],
        keep: Keep,
        *,
        responses: bool = True,
        **asking: Any,
    ) -> None:
        super().__init__(classifier, batches, **asking)
        self.explainer, self.keep, self.responses = explainer, keep, responses

    def predict_step(self, batch: PairBatch, batch_idx: int) -> None:
        found: list[Explanation] = []
        failed = self.without_failures(batch, lambda rows: found.extend(self.explain(rows)))
        self.keep(self.batches[batch_idx], found, failed)

    def explain(self, batch: PairBatch) -> list[Explanation]:
        """The explanations of a batch. Raises PairsFailed for pairs that have none."""
        start = time.perf_counter()
        removal, record = removal_of(self.explainer, self.classifier), ResponseRecord(len(batch))
        with self.asked(batch, removal, record) as masked:
            attributions = self.explainer(masked)
            scores = attributions.scores.double().cpu()
            seconds = (time.perf_counter() - start) / len(batch)
        if unsound := (~scores.isfinite()).any(1).nonzero().flatten().tolist():
            raise PairsFailed(dict.fromkeys(unsound, "a score is not a finite number"), batch.ids)
        if masked.response_cache is not None and masked.response_cache.reused:
            seconds = math.nan  # what an explanation takes cannot be seen from this one
        told: dict[str, Any] = {
            "responses": self.responses,
            "labels": tuple(self.classifier.labels),
            "removal": masked.removal.name,
            "score_meaning": self.explainer.score_meaning,
        }
        return [
            _explanation(batch, masked, attributions, scores, row, seconds, **told)
            for row in range(len(batch))
        ]


class ScoreLoop(AskingLoop):
    """Asks the model about the masks of all metrics, for explanations found before.

    explained: the explanations of a batch; keep: takes the numbers that the metrics have of its
    pairs, and the pairs that cannot be scored under every removal, with the reason of each by id.
    metrics: by the removal that they are asked under, then by name. Pairs without an explanation
    are passed over.

    Beside those of the metrics, a row named ``EVALUATIONS`` holds how many masked inputs of the
    pair the model answered, which metrics of one removal share, and a row named ``EMPTY`` what
    the model says of the pair without any word.
    """

    def __init__(
        self,
        classifier: PairClassifier,
        metrics: Mapping[str, Mapping[str, PairMetric]],
        batches: Sequence[int],
        explained: Callable[[int], Iterable[Explanation]],
        keep: Callable[[int, list[PairScore], dict[str, str]], None],
        **asking: Any,
    ) -> None:
        super().__init__(classifier, batches, **asking)
        self.metrics, self.explained, self.keep = metrics, explained, keep

    def predict_step(self, batch: PairBatch, batch_idx: int) -> None:
        number = self.batches[batch_idx]
        found = {explanation.id: explanation for explanation in self.explained(number)}
        batch = batch.select([row for row, id in enumerate(batch.ids) if id in found])
        rows: list[PairScore] = []
        failed = self.without_failures(batch, lambda own: rows.extend(self.score(own, found)))
        self.keep(number, rows, failed)

    def score(self, batch: PairBatch, found: Mapping[str, Explanation]) -> list[PairScore]:
        """The numbers of a batch. Raises PairsFailed for pairs that have none."""
        scores = torch.zeros(batch.word_valid.shape, dtype=torch.float64, device=batch.device)
        groups = torch.full_like(scores, -1, dtype=torch.int64)
        candidates = torch.zeros_like(batch.word_valid)
        for row, (name, read) in enumerate(zip(batch.ids, batch.places, strict=True)):
            own, column = found[name], {place: i for i, place in enumerate(read)}
            scores[row, : len(read)] = torch.tensor(own.scores, dtype=torch.float64)[read]
            if own.groups is not None:
                candidates[row, [column[word] for word in own.groups.candidates]] = True
                for group, words in enumerate(own.groups.members.values()):
                    groups[row, [column[word] for word in words]] = group
        rows: list[PairScore] = []
        for removal in self.metrics:
            named = self._score(batch, scores, removal, groups=groups, candidates=candidates)
            rows += [
                PairScore(id, removal, name, tuple(row))
                for name, table in named.items()
                for id, row in zip(batch.ids, table.tolist(), strict=True)
            ]
        return rows

    def _score(
        self, batch: PairBatch, scores: Tensor, removal: str, **groups: Tensor
    ) -> dict[str, Tensor]:
        with self.asked(batch, removal) as masked:
            rows = evaluate(
                self.metrics[removal],
                masked.answers,
                scores,
                batch.word_valid,
                masked.whole,
                keys=lambda: self.keys(batch, removal, asked=True),
                side=batch.word_side,
                **groups,
            )
        counts = masked.evaluations.double()[:, None]
        return {EVALUATIONS: counts, EMPTY: rows.pop(EMPTY), **rows}


def _explanation(
    batch: PairBatch,
    masked: MaskedModel,
    attributions: Attributions,
    scores: Tensor,
    row: int,
    seconds: float,
    *,
    responses: bool,
    **told: Any,
) -> Explanation:
    """told: of all explanations of an explainer. responses: whether they are kept."""
    words = len(batch.words1[row]) + len(batch.words2[row])
    place = batch.places[row]
    # A word that the model does not read is there, and counts for nothing.
    scored = torch.zeros(words, dtype=torch.float64)
    scored[place] = scores[row, : len(place)]
    groups = attributions.groups[row]
    if groups is not None:
        groups = replace(groups, candidates=tuple(place[word] for word in groups.candidates))
    label = int(batch.labels[row])
    joint = None if attributions.interactions is None else attributions.interactions[row]
    if joint is not None:
        joint = replace(joint, pairs=tuple((place[i], place[j]) for i, j in joint.pairs))
    truncated = bool(batch.truncated[row])
    said = masked.recorded(row, words)
    certificates = None
    if said is not None and groups is not None:
        certificates = certified(said, groups, read=place, first=len(batch.words1[row]))
    return Explanation(
        id=batch.ids[row],
        words1=batch.words1[row],
        words2=batch.words2[row],
        text1=batch.text1[row],
        text2=batch.text2[row],
        spans1=batch.spans1[row],
        spans2=batch.spans2[row],
        label=None if label < 0 else label,
        prediction=int(masked.prediction[row]),
        probabilities=tuple(masked.probabilities[row].double().tolist()),
        question=masked.question.name,
        value=float(masked.whole[row].double()),
        scores=tuple(scored.tolist()),
        groups=groups,
        evaluations=int(masked.evaluations[row]),
        gradients=int(masked.gradients[row]),
        seconds=seconds,
        interactions=joint,
        truncated=truncated,
        warnings=(TRUNCATED,) if truncated else (),
        unread=tuple(sorted(set(range(words)) - set(place))),
        certificates=certificates,
        responses=said if responses else None,
        **told,
    )
