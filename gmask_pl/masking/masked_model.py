"""Masked models: keep-masks in, answers out (Section 3.1, Eq. 1).

`MaskedModel` is the only surface of a task model that explainers and metrics see. What it means
to remove a word is one of four removals:

- ``zero``: the word embedding becomes the zero vector (Eq. 1, x~ = W * x);
- ``pad``: the token becomes padding and nothing attends to it, its neighbours keep their
  positions (the authors' BERT code);
- ``mask``: the token becomes the mask token (ERASER, input marginalisation);
- ``delete``: the token is taken out of the text and its neighbours close up.

Under ``pad`` and ``delete`` no other token sees the removed one, so it is left out of the
computation: a mask that keeps three words costs a forward pass over those three words. Only where
a model counts distances between tokens by itself (``skips_hidden`` is false), ``pad`` carries it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from gmask_pl.masking.response_cache import ResponseCache
from gmask_pl.masking.response_record import ResponseRecord
from gmask_pl.masking.token_packing import (
    TokenBudget,
    TooLong,
    distinct_masks,
    keep_tokens,
    leftmost,
)
from gmask_pl.question import PREDICTED, SCORE, SOFTMAX, Answers, Question
from gmask_pl.responses import Responses
from gmask_pl.settings import OneOf
from gmask_pl.types import Classifier, ModelInput, PairBatch, PairsFailed, ReadsAttention, UserError


@dataclass(frozen=True, slots=True)
class Removal:
    """What happens to the tokens of a removed word.

    hides: nothing attends to them; closes_up: later tokens move forward; masks: they become the
    mask token. With neither, their word embedding becomes zero.
    """

    name: str
    hides: bool = False
    closes_up: bool = False
    masks: bool = False


REMOVALS = {
    removal.name: removal
    for removal in (
        Removal("zero"),
        Removal("pad", hides=True),
        Removal("mask", masks=True),
        Removal("delete", hides=True, closes_up=True),
    )
}
RemovalName = Annotated[str, OneOf(REMOVALS)]  # of a setting


# Entered around a forward pass whose input rows (N,) are copy c of example b: b * copies + c.
Around = Callable[[Tensor], AbstractContextManager[None]]

NOT_FINITE = "the model's answer is not a finite number"

_BACKWARD = 4  # how many times the memory of a forward pass a backward pass needs with it


def removal_named(name: str) -> Removal:
    """The removal of that name; raises UserError with the choices."""
    if name not in REMOVALS:
        raise UserError(f"unknown removal {name!r}: choose one of {', '.join(REMOVALS)}")
    return REMOVALS[name]


class MaskedModel:
    """A classifier bound to a batch of pairs, a removal and a question: keep-masks in, answers out.

    question: what is asked about every masked pair; the paper's is the probability of the class
    that is predicted for the whole pair. outputs (B, M): the model's of the whole pairs; whole
    (B,): the number that is asked for, of these.

    ``token_budget`` bounds the tokens of one forward pass (and a quarter of it those of a
    forward and backward pass); models that share one share what was learnt of the memory.
    ``response_cache``: what earlier runs were told, and where this one leaves what it is told.
    ``record``: where all outputs about masks of words are noted, known ones among them.
    ``evaluations`` and ``gradients`` (B,) count the masked inputs that the model was asked about,
    known answers among them, and those that were differentiated too.

    Whatever asks the model raises PairsFailed for the pairs about which it does not answer by a
    finite number, for those of which a single masked input does not fit the memory, and for those
    of which it would be asked about more than ``budget`` masked inputs.
    """

    def __init__(
        self,
        classifier: Classifier,
        batch: PairBatch,
        removal: str,
        *,
        question: Question = PREDICTED,
        budget: int | None = None,
        token_budget: TokenBudget | int,
        response_cache: ResponseCache | None = None,
        record: ResponseRecord | None = None,
    ) -> None:
        self.classifier = classifier
        self.batch, self.question, self.most = batch, question, budget
        self.removal = removal_named(removal)
        if self.removal.masks and classifier.mask_token_id is None:
            raise UserError(
                f"removal={removal}: the model has no mask token; choose pad, delete or zero"
            )
        self.budget = TokenBudget(token_budget) if isinstance(token_budget, int) else token_budget
        self.response_cache, self.record = response_cache, record
        self.evaluations = torch.zeros(len(batch), dtype=torch.int64)
        self.gradients = torch.zeros(len(batch), dtype=torch.int64)
        if forget := getattr(classifier, "forget", None):
            forget()  # what it keeps of its answers is of the weights that it had
        if (unreadable := getattr(classifier, "unreadable", None)) and (found := unreadable(batch)):
            raise PairsFailed(found, batch.ids)
        self.outputs: Tensor = self.logits(batch.word_valid[:, None])[:, 0]
        self.aim: Tensor = question.aim(self.outputs)
        self.whole: Tensor = question.value(self.outputs, self.aim)

    @cached_property
    def ends(self) -> Tensor | None:
        """The numbers of the empty and of the whole pair, (B, 2), where the question needs them."""
        if not self.question.scaled:
            return None
        empty = self.logits(torch.zeros_like(self.batch.word_valid)[:, None])[:, 0]
        return torch.stack([self.question.value(empty, self.aim), self.whole], -1)

    @property
    def probabilities(self) -> Tensor:
        """Of all classes or labels, (B, C), of the whole pairs; (B, 0) of a score."""
        return self.probabilities_of(self.outputs)

    def probabilities_of(self, outputs: Tensor) -> Tensor:
        """Of all classes or labels, (..., C), by outputs (..., M); (..., 0) of a score."""
        if self._meaning == SCORE:
            return outputs[..., :0]
        return outputs.softmax(-1) if self._meaning == SOFTMAX else outputs.sigmoid()

    @property
    def prediction(self) -> Tensor:
        """The class or label (B,) int64 that is most probable for the whole pair.

        Of a score, whether it is at least the threshold.
        """
        if self._meaning == SCORE:
            return self.question.decision(self.outputs, self.aim)
        return self.outputs.argmax(-1)

    @property
    def _meaning(self) -> str:
        return getattr(self.classifier, "outputs", SOFTMAX)

    @property
    def distribution(self) -> Tensor:
        """What a model of the answers learns of the whole pairs: probabilities (B, D)."""
        return self.question.distribution(self.outputs, self.aim, self.ends)

    def rebind(self, batch: PairBatch) -> MaskedModel:
        """The same model, question and counters over a rewritten form of the same pairs."""
        other = object.__new__(MaskedModel)
        other.__dict__.update(self.__dict__, ends=self.ends)
        other.batch = batch
        other.response_cache = other.record = None  # its masks are of other texts
        return other

    def logits(self, keep: Tensor, pairs: Tensor | None = None) -> Tensor:
        """Logits (B, S, C) for keep-masks (B, S, W) bool; equal masks are evaluated once.

        pairs (B,) bool: those that are asked about, the others having 0; None: all.
        """
        b, s, _ = keep.shape
        if pairs is None:
            pairs = torch.ones(b, dtype=torch.bool, device=keep.device)
        which = pairs.nonzero()[:, 0]
        rows, masks, inverse = distinct_masks((keep & self.batch.word_valid[:, None])[which])
        rows = which[rows]
        self.evaluations += torch.bincount(rows, minlength=b).cpu()
        self._within_budget()
        if self.response_cache is None:
            found = self._ask(rows, masks)
        else:
            found = self.response_cache.complete(rows, masks, self._ask)
        if self.record is not None:
            self.record.add(rows, masks, found)
        found = found[inverse].view(len(which), s, -1)
        if len(which) == b:
            return found
        return found.new_zeros(b, s, found.shape[2]).index_copy(0, which, found)

    def _ask(self, rows: Tensor, masks: Tensor) -> Tensor:
        """Logits (N, C) of the pairs ``rows`` (N,) under the masks (N, W) bool."""
        token_keep = keep_tokens(
            self.batch.word_of_token[rows], self.batch.attention[rows], masks
        ).bool()
        lengths = self._computed(rows, token_keep).sum(1)
        order: list[Tensor] = []
        answers: list[Tensor] = []

        def step(chunk: Tensor) -> None:
            inputs = self._hard_input(rows[chunk], token_keep[chunk])
            answers.append(self.classifier(inputs).float())
            order.append(chunk)

        with torch.inference_mode():
            self._run(rows, lengths, step)
        found = torch.cat(answers)[torch.argsort(torch.cat(order))]
        self._refuse(rows, found.isfinite().all(1))
        return found

    def _run(
        self, rows: Tensor, lengths: Tensor, step: Callable[[Tensor], None], *, share: int = 1
    ) -> None:
        """`TokenBudget.run` for inputs of the pairs ``rows`` (N,)."""
        try:
            together = getattr(self.classifier, "together", "any")
            self.budget.run(lengths, step, share=share, together=together)
        except TooLong as error:
            raise PairsFailed({int(rows[error.row]): error.reason}, self.batch.ids) from error

    def _within_budget(self) -> None:
        """Raises PairsFailed for pairs that the model has been asked too much about."""
        if self.most is None:
            return
        if over := (self.evaluations > self.most).nonzero().flatten().tolist():
            needed = self.evaluations.tolist()
            reasons = {
                row: f"budget={self.most}: more calls are needed than that: give budget="
                f"{int(needed[row])} or more, or a method that asks less, such as lime"
                for row in over
            }
            raise PairsFailed(reasons, self.batch.ids)

    def _refuse(self, rows: Tensor, finite: Tensor) -> None:
        """Raises PairsFailed for those of the pairs ``rows`` (N,) whose answer is not finite."""
        if not bool(finite.all()):
            failed = rows.to(finite.device)[~finite].unique().tolist()
            raise PairsFailed(dict.fromkeys(failed, NOT_FINITE), self.batch.ids)

    def answers(self, keep: Tensor) -> Answers:
        """What is asked of keep-masks (B, S, W) bool."""
        return self.answers_of(self.logits(keep))

    def answers_of(self, logits: Tensor) -> Answers:
        """What is asked of logits (B, S, M)."""
        return self._answers(logits, slice(None))

    def _answers(self, logits: Tensor, rows: slice) -> Answers:
        """Of logits (B, S, M) about some ``rows`` of the batch."""
        own = self.aim[rows]
        aim = own[:, None].expand(logits.shape[:2])
        whole = self.question.decision(self.outputs[rows], own)
        same = self.question.decision(logits, aim) == whole[:, None]
        return Answers(self.question.value(logits, aim), same)

    def recorded(self, row: int, words: int) -> Responses | None:
        """What was recorded of a pair of so many words in all; None where nothing was.

        Words that the model does not read are in no mask.
        """
        if self.record is None:
            return None
        place = self.batch.places[row]
        masks, outputs = self.record.of(row, len(place))
        kept = np.zeros((len(masks), words), dtype=bool)
        kept[:, place] = masks
        logits = torch.from_numpy(outputs).to(self.aim.device)
        answers = self._answers(logits[None], slice(row, row + 1))
        return Responses.of(
            kept,
            answers.value[0].float().cpu().numpy(),
            answers.same[0].cpu().numpy(),
            self.probabilities_of(logits).float().cpu().numpy(),
        )

    def values(self, keep: Tensor) -> Tensor:
        """The number that is asked for, (B, S), for keep-masks (B, S, W) bool."""
        return self.answers(keep).value

    def loss(self, keep: Tensor) -> Tensor:
        """-log of the share, (B, S), for keep-masks (B, S, W) bool.

        Where the question is a probability, the share is that, and this is the cross-entropy of
        Eq. 7, -log p(y | kept words). See `gmask_pl.question` for the others.
        """
        return self.loss_of(self.logits(keep))

    def loss_of(self, logits: Tensor) -> Tensor:
        """-log of the share, (B, S), of logits (B, S, M)."""
        b, s, _ = logits.shape
        pairs = torch.arange(b, device=logits.device)[:, None].expand(b, s)
        return self._loss(logits, pairs)

    def loss_gradient(self, keep: Tensor, *, distinct: bool = True) -> tuple[Tensor, Tensor]:
        """The loss (B, S) and its gradient with respect to the masks (B, S, W).

        ``keep`` (B, S, W) is bool, or float in [0, 1] for soft masks. Equal bool masks are
        evaluated once unless ``distinct`` is false. The gradient is 0 for words that are not
        valid, and for words that a bool mask leaves out of the computation; where it replaces
        them (zero, mask), theirs is that of putting them back.
        Raises UserError for a removal that has no derivative.
        """
        if self.removal.closes_up:
            raise UserError(
                f"removal={self.removal.name} has no gradient with respect to a word: choose "
                "zero, pad or mask, or an explainer that needs no gradients"
            )
        b, s, w = keep.shape
        if distinct and keep.dtype == torch.bool:
            rows, masks, inverse = distinct_masks(keep & self.batch.word_valid[:, None])
        else:
            rows = torch.arange(b, device=keep.device).repeat_interleave(s)
            masks, inverse = keep.reshape(b * s, w), torch.arange(b * s, device=keep.device)
        valid, attention = self.batch.word_valid[rows], self.batch.attention[rows]
        hard = masks.dtype == torch.bool
        if self._leaves_out and hard:
            attention = keep_tokens(self.batch.word_of_token[rows], attention, masks).bool()
        self.evaluations += torch.bincount(rows, minlength=b).cpu()
        self._within_budget()
        masks = masks.float() * valid
        loss, gradient = masks.new_empty(len(rows)), torch.empty_like(masks)

        def step(chunk: Tensor) -> None:
            with torch.enable_grad():
                mask = masks[chunk].requires_grad_()
                inputs = self._soft_input(rows[chunk], mask, attention[chunk], hard=hard)
                nll = self._loss(self.classifier(inputs), rows[chunk])
                (grad,) = torch.autograd.grad(nll.sum(), mask)
            loss[chunk], gradient[chunk] = nll.detach(), grad

        self._run(rows, attention.sum(1), step, share=_BACKWARD)
        self._refuse(rows, loss.isfinite() & gradient.isfinite().all(1))
        self.gradients += torch.bincount(rows, minlength=b).cpu()
        gradient = gradient * valid
        return loss[inverse].view(b, s), gradient[inverse].view(b, s, w)

    def attention(self, layer: int) -> Tensor:
        """The attention that every word of the whole pair receives in a layer, (B, W).

        The sum over the word's tokens; one evaluation a pair. Raises UserError for a classifier
        that does not tell its attention.
        """
        batch, classifier = self.batch, self.classifier
        if not isinstance(classifier, ReadsAttention):
            raise UserError(
                f"{type(classifier).__name__} does not tell its attention: choose an explainer "
                "that asks for answers only, or give the model a received_attention method"
            )
        b, width = batch.word_valid.shape
        # Tokens of no word add to a spare last column.
        words = torch.where(batch.word_of_token < 0, width, batch.word_of_token)
        received = torch.zeros(b, width + 1, device=batch.device)

        def step(rows: Tensor) -> None:
            inputs = self._whole_input(rows)
            paid = classifier.received_attention(inputs, layer).float()
            owners = words[rows].gather(1, inputs.positions)
            received[rows] = received[rows].scatter_add(1, owners, paid)

        with torch.inference_mode():
            self._run(torch.arange(b), batch.attention.sum(1), step)
        self.evaluations += 1
        self._refuse(torch.arange(b), received.isfinite().all(1))
        return received[:, :width] * batch.word_valid

    def watch(self, around: Around) -> None:
        """One forward pass of every whole pair, within ``around``.

        It is how a hook on a layer sees what the layer computes: column i of it is token i.
        """

        def step(rows: Tensor) -> None:
            with around(rows):
                self.classifier(self._whole_input(rows))

        with torch.no_grad():
            self._run(torch.arange(len(self.batch)), self.batch.attention.sum(1), step)
        self.evaluations += 1

    def loss_within(self, around: Around, wrt: Tensor, *, copies: int) -> tuple[Tensor, Tensor]:
        """The loss (B, copies) of copies of whole pairs that ``around`` perturbs.

        And its gradient, summed over examples and copies, with respect to ``wrt``, which the
        perturbation is made of: a hook on a layer that mixes noise into what it computes.
        """
        loss = torch.empty(len(self.batch) * copies, device=self.batch.device)
        gradient = torch.zeros_like(wrt)

        def step(rows: Tensor) -> None:
            examples = rows // copies
            with torch.enable_grad(), around(rows):
                nll = self._loss(self.classifier(self._whole_input(examples)), examples)
                (grad,) = torch.autograd.grad(nll.sum(), wrt)
            loss[rows] = nll.detach()
            gradient.add_(grad)

        lengths = self.batch.attention.sum(1).repeat_interleave(copies)
        pairs = torch.arange(len(self.batch)).repeat_interleave(copies)
        self._run(pairs, lengths, step, share=_BACKWARD)
        self._refuse(pairs, loss.isfinite())
        self.evaluations += copies
        self.gradients += copies
        return loss.view(-1, copies), gradient

    def _loss(self, logits: Tensor, pairs: Tensor) -> Tensor:
        """-log of the share (...) of logits (..., M) about the ``pairs`` (...) of the batch."""
        ends = None if self.ends is None else self.ends[pairs]
        return -self.question.log_share(logits.float(), self.aim[pairs], ends)

    def _whole_input(self, rows: Tensor) -> ModelInput:
        order, attention = leftmost(self.batch.attention[rows])
        ids = self.batch.token_ids[rows].gather(1, order)
        return ModelInput(ids, attention, self.batch.segment[rows].gather(1, order), order)

    @property
    def _leaves_out(self) -> bool:
        """Whether removed tokens take no part in the computation at all."""
        return self.removal.closes_up or (self.removal.hides and self.classifier.skips_hidden)

    @property
    def _counts_alike(self) -> bool:
        """Whether one removed token of a side stands for all of them."""
        return not self.removal.hides and getattr(self.classifier, "counts_alike", False)

    def _hard_input(self, rows: Tensor, token_keep: Tensor) -> ModelInput:
        """The input for boolean token masks (N, L), trimmed to its longest row."""
        batch, removal = self.batch, self.removal
        computed = self._computed(rows, token_keep)
        order, attention = leftmost(computed)
        # What is left out stands behind the row's end, where it is padding.
        padding = self.classifier.pad_token_id
        ids = torch.where(attention, batch.token_ids[rows].gather(1, order), padding)
        segment = batch.segment[rows].gather(1, order)
        positions = order
        gate: Tensor | None = None
        if removal.closes_up:
            positions = torch.arange(order.shape[1], device=order.device).expand_as(order)
        elif removal.hides:
            attention = token_keep.gather(1, order) & attention
            ids = torch.where(attention, ids, padding)
        else:
            kept = token_keep.gather(1, order) | ~attention
            if removal.masks:
                assert self.classifier.mask_token_id is not None
                ids = torch.where(kept, ids, self.classifier.mask_token_id)
            else:
                gate = kept.float()
            if self._counts_alike:
                attention = self._counts(rows, token_keep).gather(1, order) * attention
        return ModelInput(ids, attention, segment, positions, gate)

    def _computed(self, rows: Tensor, token_keep: Tensor) -> Tensor:
        """Which tokens (N, L) bool take part in the computation."""
        if self._leaves_out:
            return token_keep
        if self._counts_alike:
            return self._counts(rows, token_keep) > 0
        return self.batch.attention[rows]

    def _counts(self, rows: Tensor, token_keep: Tensor) -> Tensor:
        """How many tokens each token stands for, (N, L) float.

        A kept one for itself, the first removed one of a side for all removed ones of that side,
        and the others for none.
        """
        counts = token_keep.float()
        removed = self.batch.attention[rows] & ~token_keep
        for side in (0, 1):
            alike = removed & (self.batch.segment[rows] == side)
            first = alike & (alike.cumsum(1) == 1)
            counts = counts + first * alike.sum(1, keepdim=True)
        return counts

    def _soft_input(
        self, rows: Tensor, mask: Tensor, attention: Tensor, *, hard: bool
    ) -> ModelInput:
        """The differentiable input for word masks (N, W) in [0, 1] over tokens (N, L) bool.

        hard: the masks are 0 or 1, so a hidden token may be read as padding.
        """
        batch, removal = self.batch, self.removal
        order, attention = leftmost(attention)
        soft = keep_tokens(batch.word_of_token[rows].gather(1, order), attention, mask)
        ids = batch.token_ids[rows].gather(1, order)
        segment = batch.segment[rows].gather(1, order)
        if removal.hides:
            if hard:
                ids = torch.where(soft > 0, ids, self.classifier.pad_token_id)
            return ModelInput(ids, soft, segment, order)
        substitute = self.classifier.mask_token_id if removal.masks else None
        gate = torch.where(attention, soft, 1.0)
        return ModelInput(ids, attention, segment, order, gate, substitute)
