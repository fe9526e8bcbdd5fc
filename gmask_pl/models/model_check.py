"""A model is tried before it is trusted: against its own direct call, on pairs of its own words.

Which removals, gradients and attention of a model are right is not read off its class. Each is held
against the plainest way of asking (`PairClassifier.direct`): one pair at a time, without padding,
by the model's own call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gmask_pl.masking.masked_model import REMOVALS, MaskedModel
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.models.reading_traits import told, tolerance, trial_pairs
from gmask_pl.question import SCORE
from gmask_pl.types import PairBatch, PairExample, ReadsAttention, UserError

SHORT = ((2, 5), (7, 3), (1, 4))  # words of the sides of the short trial pairs
AT_ONCE = 160  # tokens of the longest input that a trial pair has in any case
UNLIMITED = 40  # words of the long trial pair, where a model has no longest input
FEW = [0, 2]  # of these, where gradients are taken,
PATHS = (0.1, 0.02, 0.004)  # along a path of this length; a mask changes by half of it at most
# Points and weights of a Gauss-Legendre sum, and how near it comes, of the steepest slope.
GAUSS, WEIGHTS, NEAR = (0.1127, 0.5, 0.8873), (5 / 18, 8 / 18, 5 / 18), 0.1
PREFERENCE = ("pad", "mask", "delete", "zero")


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of trying one thing: whether it is right, and if not, why not.

    whole, leak, naive: the largest differences in a logit between keeping everything and the
    direct call; between answers that differ in the id of a removed word; and between random masks
    and their naive construction. nan where it was not tried.
    """

    ok: bool
    reason: str = ""
    whole: float = math.nan
    leak: float = math.nan
    naive: float = math.nan


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model may be asked for.

    removals, gradients: by the name of a removal; of the latter none where they were not tried;
    attention: whether it tells what its first token attends to. longest: tokens of the longest
    input, None where there is no such limit. outputs: what they mean, ``softmax``, ``sigmoid`` or
    ``score``. together: which rows are asked in one batch. window: the widest stretch of local
    attention that the model was tried beyond, 0 where it has none.
    """

    removals: dict[str, Trial]
    gradients: dict[str, Trial]
    attention: Trial
    longest: int | None
    outputs: str
    together: str
    window: int

    def right(self, *, gradients: bool = False) -> list[str]:
        """The removals that are right, with their gradients where these are needed; best first.

        ``pad`` and ``mask`` leave every other word its place, ``delete`` reads a text that someone
        may have written, and the zero vector of ``zero`` is what no model has ever read.
        """
        tried = self.gradients if gradients else self.removals
        return [name for name in PREFERENCE if tried[name].ok]

    def refuse(self, model: str, removal: str, *, setting: str, gradients: bool = False) -> None:
        """Raises UserError where a removal, or a gradient under it, is not right for the model."""
        trial = (self.gradients if gradients else self.removals)[removal]
        if trial.ok:
            return
        right = self.right(gradients=gradients)
        advice = f"choose {' or '.join(f'{setting}={name}' for name in right)}"
        if gradients:
            rest = "an explainer that needs no gradients" if self.right() else ""
            advice = f"{advice}, or {rest}" if right and rest else f"choose {rest}"
        if not self.right():
            advice = "no removal is, so it cannot be explained here"
        what = "gradients under it are" if gradients and self.removals[removal].ok else "it is"
        raise UserError(
            f"{setting}={removal}: {what} not right for this model ({model}): {trial.reason}; "
            f"{advice}"
        )


def check(classifier: PairClassifier, *, gradients: bool = True) -> Verdict:
    """Tries a model, in evaluation mode, on pairs of unequal lengths of its own vocabulary.

    One of them is longer than any window of the model's attention, up to the longest input.
    gradients: try these, too. Raises UserError where the model's own direct call fails, does not
    give the same answer again, or gives the same one to all pairs.
    """
    with classifier.undisturbed():
        return _check(classifier, gradients)


def _check(classifier: PairClassifier, gradients: bool) -> Verdict:
    words, longest, window = classifier.trial_words(), classifier.longest, classifier.window
    length = UNLIMITED if longest is None else min(longest, max(AT_ONCE, window * 3 // 2 + 8))
    examples = trial_pairs(words, [*SHORT, _halves(length)])
    # The longest first: some networks are never the same again after a short one.
    wholes = [direct(classifier, example) for example in reversed(examples)][::-1]
    if longest is not None and length < longest:
        direct(classifier, trial_pairs(words, [_halves(longest)])[0])
    for example, whole in zip(reversed(examples), reversed(wholes), strict=True):
        again = direct(classifier, example)
        if not torch.allclose(again, whole, rtol=1e-4, atol=1e-5):
            raise UserError(
                f"{name_of(classifier)}: asked about the same pair again, after others, it gives "
                "another answer: there is nothing to explain"
            )
    if _largest(torch.stack(wholes) - wholes[0]) <= tolerance(wholes[0], 0.0):
        raise UserError(
            f"{name_of(classifier)}: it gives the same answer to every pair that it was tried on: "
            "there is nothing to explain"
        )
    bench = _Bench(classifier, examples, torch.stack(wholes))
    removals = {name: bench.removal(name) for name in REMOVALS}
    return Verdict(
        removals=removals,
        gradients={
            name: bench.gradient(name) if trial.ok else Trial(False, trial.reason)
            for name, trial in removals.items()
            if gradients
        },
        attention=bench.attention(),
        longest=longest,
        outputs=classifier.outputs,
        together=classifier.together,
        window=window,
    )


def direct(classifier: PairClassifier, example: PairExample) -> Tensor:
    """The model's own answer to a whole pair. Raises UserError where it has none."""
    try:
        found = classifier.direct(example)
    except UserError:
        raise
    except Exception as error:  # whatever the network leads to
        tokens = int(classifier.encoder("word")([example]).attention.sum())
        raise UserError(
            f"{name_of(classifier)}: the model's own call fails for a pair of {tokens} tokens "
            f"({told(error)}); where it does not for shorter ones, set model.net.max_length lower"
        ) from error
    if not found.isfinite().all():
        raise UserError(f"{name_of(classifier)}: the model's own answer is not a finite number")
    return found


def name_of(classifier: PairClassifier) -> str:
    return type(getattr(classifier, "network", classifier)).__name__


def _halves(words: int) -> tuple[int, int]:
    return words // 2, words - words // 2


class _Bench:
    """A model with its trial pairs, a random mask on each, and its direct answers (B, C)."""

    def __init__(
        self, classifier: PairClassifier, examples: Sequence[PairExample], wholes: Tensor
    ) -> None:
        self.classifier, self.examples, self.wholes = classifier, examples, wholes
        self.batch = classifier.encoder("word")(examples).to(classifier.device)
        valid = self.batch.word_valid
        self.generator = torch.Generator().manual_seed(0)
        keep = torch.rand(valid.shape, generator=self.generator) < 0.5
        keep[:, 0] = False  # some word goes
        place = torch.arange(valid.shape[1], device=valid.device)
        last = place == (place * valid).amax(1, keepdim=True)
        keep = keep.to(valid.device) & valid & ~last
        # Some networks read the last word of a pair: it goes in every other one.
        stays = (torch.arange(len(valid), device=valid.device) % 2 == 1)[:, None]
        self.keep = keep | (last & stays)
        self.keep_last = keep | last
        self.longest = int(self.batch.attention.sum(1).max())
        self._rounding = 0.0  # the largest difference between ways to the same answer

    def removal(self, name: str) -> Trial:
        """Whether masks under a removal give what they should."""
        if REMOVALS[name].masks and self.classifier.mask_token_id is None:
            return Trial(False, "the model has no mask token")
        # Long pairs cost the most; without windows only pad, which leaves gaps, needs them.
        every = name == "pad" or self.classifier.window > 0
        rows = list(range(len(self.examples) - (not every)))
        try:
            found, limit = self._differences(rows, name)
            if name == "pad" and (seen := self._seen(rows[:-1])) > limit:
                reason = "the network reads tokens that attention_mask hides"
                found["leak"] = max(found["leak"], seen)
                return Trial(False, reason, *found.values())
        except Exception as error:  # whatever the network leads to
            return Trial(False, told(error))
        for part, reason in _REASONS.items():
            if not found[part] <= limit:
                return Trial(False, f"{reason} (by {found[part]:.2g} in a logit)", *found.values())
        return Trial(True, "", *found.values())

    def _differences(self, rows: list[int], name: str) -> tuple[dict[str, float], float]:
        """The largest differences in a logit by their names in a Trial, and how large they may be.

        In one padded batch of all these pairs, whole and masked.
        """
        batch, keep, wholes = self.batch.select(rows), self.keep[rows], self.wholes[rows]
        none = torch.zeros_like(keep)
        answers = self._asked(batch, name).logits(torch.stack([batch.word_valid, keep, none], 1))
        altered = self._asked(self._altered(batch, keep), name).logits(keep[:, None])[:, 0]
        naive = torch.stack([self._naive(row, self.keep[row], name) for row in rows])
        empty = answers[:, 2].clone()
        for place, row in enumerate(rows[:2]):
            # A text without any token is none that the model's own call can be asked about.
            others = (self.batch.word_of_token[row] < 0) & self.batch.attention[row]
            if bool(others.any()) or not REMOVALS[name].closes_up:
                empty[place] = self._naive(row, none[place], name)
        effect = max(_largest(wholes - naive), _largest(wholes - wholes.roll(1, 0)))
        found = {
            "whole": _largest(answers[:, 0] - wholes),
            "leak": _largest(answers[:, 1] - altered),
            "naive": _largest(answers[:, 1:] - torch.stack([naive, empty], 1)),
        }
        limit = tolerance(wholes, effect)
        if (largest := max(found.values())) <= limit:
            self._rounding = max(self._rounding, largest)
        return found, limit

    def _seen(self, rows: list[int]) -> float:
        """What the ids of hidden tokens change in the network itself."""
        answers = [
            [self._naive(row, self.keep_last[row], "pad", as_padding=way) for row in rows]
            for way in (True, False)
        ]
        return _largest(torch.stack(answers[0]) - torch.stack(answers[1]))

    def gradient(self, name: str) -> Trial:
        """Whether gradients with respect to masks are those of what they are taken of."""
        if REMOVALS[name].closes_up:
            return Trial(False, "taking a word out of a text has no derivative")
        batch, keep = self.batch.select(FEW), self.keep[FEW][:, None]
        try:
            masked = self._masked(batch, name)
            if self.classifier.outputs != SCORE:
                # Of the least likely class the loss has a slope, however sure the model is.
                masked.aim = masked.outputs.argmin(-1)
            return self._along_a_path(masked, keep, batch.word_valid[:, None])
        except Exception as error:  # whatever the network leads to
            return Trial(False, told(error))

    def _along_a_path(self, masked: MaskedModel, keep: Tensor, valid: Tensor) -> Trial:
        """The gradients along a short path between soft masks sum up to what the loss gains there.

        So little hangs on the kinks of a network of ReLUs. keep, valid (B, 1, W).
        """
        hard, _ = masked.loss_gradient(torch.cat([keep, valid], 1))
        expected = masked.loss(torch.cat([keep, valid], 1))
        if not torch.allclose(hard, expected, rtol=1e-3, atol=1e-4):
            apart = _largest(hard - expected)
            return Trial(False, f"with gradients its answers are others (by {apart:.2g})")
        drawn = torch.rand((2, *valid.shape), generator=self.generator).to(valid.device) * valid
        start, way = 0.3 * valid + 0.4 * drawn[0], drawn[1] - 0.5 * valid
        points = torch.tensor([0.0, *GAUSS, 1.0], device=valid.device)[:, None]
        weights = torch.tensor(WEIGHTS, device=valid.device)
        removed = _largest(hard[:, 0] - hard[:, 1])
        # Two ways to the same answers, and two paddings of them, differ by rounding alone.
        noise = 2e-6 + _largest(hard - expected) + self._rounding
        apart = math.nan
        for length in PATHS:  # a shorter one where the answers bend too much
            loss, gradient = masked.loss_gradient(start + points * length * way)
            if not gradient.isfinite().all():
                return Trial(False, "a gradient is not a finite number")
            if masked.removal.hides and _largest(loss - hard[:, 1:]) < 1e-3 * removed:
                return Trial(False, "a word that is there in part is read as if it were whole")
            slopes = gradient[:, 1:-1] * length * way
            gained, summed = loss[:, -1] - loss[:, 0], (slopes.sum(-1) * weights).sum(1)
            limit = NEAR * slopes.abs().sum(-1).amax(1)
            rounding = noise * (1 + loss[:, 0]) + 1e-5 * removed
            if length < PATHS[0] and bool((limit < rounding).all()):
                break  # nothing can be told from so short a path
            if bool(((gained - summed).abs() <= limit + rounding).all()):
                return Trial(True)
            apart = _largest(gained - summed)
        return Trial(False, f"gradients are not slopes of the answers (by {apart:.2g})")

    def attention(self) -> Trial:
        """Whether the model tells its attention, the same of a pair in a batch and alone."""
        if not isinstance(self.classifier, ReadsAttention):
            return Trial(False, "the model does not tell its attention")
        try:
            found = self._masked(self.batch.select(FEW), "delete").attention(-1)
            alone = self._masked(self.batch.select(FEW[:1]), "delete").attention(-1)
            if not torch.allclose(found[:1], alone, rtol=1e-3, atol=1e-5):
                return Trial(False, "the attention in a pair depends on the pairs beside it")
        except Exception as error:  # whatever the network leads to
            return Trial(False, told(error))
        return Trial(True)

    def _masked(self, batch: PairBatch, name: str) -> MaskedModel:
        # So few that short rows are padded, and no memory is asked for that one pair does not need.
        question = self.classifier.question()
        budget = 2 * self.longest
        return MaskedModel(self.classifier, batch, name, question=question, token_budget=budget)

    def _asked(self, batch: PairBatch, name: str) -> MaskedModel:
        """A masked model for its logits, which spares the predictions on the long whole pairs."""
        masked = self._masked(self.batch.select(FEW[:1]), name).rebind(batch)
        masked.evaluations = torch.zeros(len(batch), dtype=torch.int64)
        return masked

    def _naive(self, row: int, keep: Tensor, name: str, **way: Any) -> Tensor:
        """The direct answer about a pair without the words that are not kept."""
        owners = self.batch.word_of_token[row][self.batch.attention[row]]
        gone = (owners >= 0) & ~keep[owners.clamp_min(0)]
        return self.classifier.direct(self.examples[row], name, gone, **way)

    def _altered(self, batch: PairBatch, keep: Tensor) -> PairBatch:
        """The batch with other ids for the tokens of removed words, of tokens of other words."""
        owners = batch.word_of_token
        gone = (owners >= 0) & ~keep.gather(1, owners.clamp_min(0))
        known = self.batch.token_ids[self.batch.word_of_token >= 0]
        drawn = torch.randint(len(known), owners.shape, generator=self.generator)
        others = known[drawn.to(batch.device)]
        return replace(batch, token_ids=torch.where(gone, others, batch.token_ids))


_REASONS = {
    "whole": "keeping every word does not give the model's own answer",
    "leak": "what a removed word was changes the answer",
    "naive": "a masked pair is not answered as the model by itself answers the same input",
}


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())
