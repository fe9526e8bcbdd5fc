"""Explainers of the k best words of a filter, and the model's answer for every subset of these.

Once a filter has kept k words, only 2^k masked inputs exist. A table asks the model about each
once; the objective of GMASK, and much else, can then be read from it exactly.

Bit j of a coalition's index is candidate j, candidate 0 being the most significant bit.
Examples with fewer than k candidates fill their last slots with -1: such a slot is no word, and
entries that differ in it alone are one evaluation.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor

from gmask_pl.explainers.explainer import Explainer, small_enough
from gmask_pl.explainers.imask import IMask
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import Range
from gmask_pl.types import Attributions, PairBatch, UserError

DROP, KEEP, BOTH = "drop", "keep", "both"
CONTEXTS = (DROP, KEEP)
VALUES = ("probability", "log_probability")
LARGEST_TABLE = 16
TableSize = Annotated[int, Range(2, LARGEST_TABLE, why="words: one of each side, 2^k answers")]


class CandidateExplainer(Explainer):
    """Scores the k best words of ``word_filter``; the others follow in its order (Section 3.3).

    word_filter: None is IMASK, as in the paper.
    """

    def __init__(
        self, *, removal: RemovalName | None, word_filter: Explainer | None, k: int, seed: int = 0
    ) -> None:
        super().__init__(removal=removal)
        self.word_filter = word_filter or IMask(removal=removal, seed=seed)
        self.k = k
        self.differentiates_masks = self.word_filter.differentiates_masks

    @property
    def tables(self) -> int:
        """How many tables of 2^k answers it needs."""
        return 1

    def _ask_at_most(self, budget: int) -> None:
        """Three quarters of the calls are for the tables, and what is left for the filter."""
        small_enough(type(self).__name__, 16 * self.tables, budget)
        while self.k > 2 and self.tables * 2**self.k > 3 * budget / 4:
            self.k -= 1
        self.word_filter = self.word_filter.within(budget - self.tables * 2**self.k)

    def __call__(self, masked: MaskedModel) -> Attributions:
        filtered = self.word_filter(masked).scores
        candidates = self.candidates(filtered, masked.batch)
        found = self.attribute(masked, candidates)
        valid = masked.batch.word_valid
        return replace(found, scores=merge_scores(found.scores, candidates, filtered, valid))

    def candidates(self, filtered: Tensor, batch: PairBatch) -> Tensor:
        """The k words (B, k) of the filter's scores (B, W), -1 where a pair has fewer."""
        return choose_candidates(filtered, batch, self.k)

    @abstractmethod
    def attribute(self, masked: MaskedModel, candidates: Tensor) -> Attributions:
        """Scores of the candidates (B, k), and what else is found of them."""


def choose_candidates(scores: Tensor, batch: PairBatch, k: int) -> Tensor:
    """The k words with the highest scores, in importance order: (B, k) int64, -1 where none.

    When they all stand on one side, the best k/2 of each side take their place (Section 3.3
    needs words of both), a side with fewer words leaving its places to the other.
    """
    candidates = torch.full((len(batch), min(k, scores.shape[1])), -1)
    orders = torch.argsort(scores, dim=1, descending=True, stable=True).tolist()
    sides, valid = batch.word_side.tolist(), batch.word_valid.tolist()
    for row, (order, side) in enumerate(zip(orders, sides, strict=True)):
        ranked = [word for word in order if valid[row][word]]
        chosen = ranked[:k]
        if len({side[word] for word in chosen}) < len({side[word] for word in ranked}):
            one, two = ([word for word in ranked if side[word] == s] for s in (0, 1))
            first = min(max(k // 2, k - len(two)), len(one))
            both = set(one[:first] + two[: k - first])
            chosen = [word for word in ranked if word in both]
        candidates[row, : len(chosen)] = torch.tensor(chosen, dtype=torch.int64)
    return candidates.to(scores.device)


def in_text_order(candidates: Tensor, width: int) -> Tensor:
    """Candidates (B, k) of texts of so many words in the order of the text, -1 coming last."""
    ordered = torch.where(candidates < 0, width, candidates).sort(1).values
    return torch.where(ordered == width, -1, ordered)


def all_coalitions(k: int) -> Tensor:
    """All keep-masks of k words, (2^k, k) bool, row i holding the bits of i."""
    check_table(k)
    bits = 2 ** torch.arange(k - 1, -1, -1)
    return (torch.arange(2**k)[:, None] & bits) > 0


def check_table(k: int) -> None:
    """Raises UserError for a table of more words than can be asked about."""
    if k > LARGEST_TABLE:
        raise UserError(
            f"a coalition table of k={k} words has {2**k} entries; use k <= {LARGEST_TABLE} "
            "(or, with gmask, estimator=sampled, which needs no table)"
        )


def coalition_index(bits: Tensor) -> Tensor:
    """The table row (...) of keep-masks over the candidates, bits (..., k)."""
    k = bits.shape[-1]
    return (bits.long() << torch.arange(k - 1, -1, -1, device=bits.device)).sum(-1)


def word_masks(bits: Tensor, candidates: Tensor, valid: Tensor, context: str) -> Tensor:
    """Keep-masks over all words (B, S, W) of masks over the candidates, bits (B or 1, S, k) bool.

    context: whether the words outside the candidates are dropped or kept meanwhile.
    """
    b, width = valid.shape
    s = bits.shape[1]
    # A slot without a word writes to a spare last column.
    columns = torch.where(candidates < 0, width, candidates)
    kept = bits.new_full((b, s, width + 1), context == KEEP)
    kept.scatter_(2, columns[:, None].expand(-1, s, -1), bits.expand(b, -1, -1))
    return kept[..., :width] & valid[:, None]


def value_table(masked: MaskedModel, candidates: Tensor, *, context: str, value: str) -> Tensor:
    """The worth of every coalition, (B, 2^k) float64, in 2^k model evaluations a pair.

    value: of `worth_of`; in the paper the probability of the predicted class or its logarithm.
    context: of `word_masks`, or ``both``: the mean of the two, in twice as many evaluations.
    """
    if context == BOTH:
        drop, keep = (value_table(masked, candidates, context=one, value=value) for one in CONTEXTS)
        return (drop + keep) / 2
    bits = all_coalitions(candidates.shape[1]).to(candidates.device)[None]
    keep = word_masks(bits, candidates, masked.batch.word_valid, context)
    return worth_of(masked, masked.logits(keep), value)


def worth_of(masked: MaskedModel, logits: Tensor, value: str) -> Tensor:
    """The worth (B, S) float64 of logits (B, S, M): the number that is asked for, or its log share.

    value: ``probability``, the number itself, whatever it is, or ``log_probability``.
    """
    if value == "log_probability":
        return -masked.loss_of(logits).double()
    return masked.answers_of(logits).value.double()


def merge_scores(theta: Tensor, candidates: Tensor, filtered: Tensor, valid: Tensor) -> Tensor:
    """Scores (B, W) float64: theta (B, k) on the candidates, and lower ones on the other words.

    These follow in the filter's order, the earlier of equals first, in equal steps from the lowest
    theta down to 0. Where that is not positive they follow in steps of at most a thousandth of the
    largest: their own scores are unknown.
    """
    used, theta = candidates >= 0, theta.double()
    columns = torch.where(used, candidates, valid.shape[1])  # a slot without a word: a spare column
    spare = torch.zeros(len(valid), valid.shape[1] + 1, dtype=torch.float64, device=valid.device)
    chosen = spare.scatter(1, columns, 1.0)[:, :-1] > 0
    others = valid & ~chosen
    order = filtered.masked_fill(~others, -torch.inf).argsort(dim=1, descending=True, stable=True)
    count = others.sum(1, keepdim=True)
    share = (order.argsort(dim=1) + 1) / (count + 1)  # how far down a word stands, in (0, 1)
    lowest = theta.masked_fill(~used, torch.inf).amin(1, keepdim=True)
    largest = theta.masked_fill(~used, 0.0).abs().amax(1, keepdim=True)
    step = torch.where(lowest > 0, lowest, 1e-3 * torch.where(largest > 0, largest, 1.0))
    scores = torch.where(others, lowest - step * share, 0.0)
    return torch.cat([scores, spare[:, :1]], 1).scatter(1, columns, theta)[:, :-1]


def multilinear_extension(table: Tensor, p: Tensor) -> Tensor:
    """E[table(w)] for independent w_j ~ Bernoulli(p_j): exact, and differentiable in p.

    table (B, 2^k), p (B, t, k) -> (B, t). One contraction a word, from the first bit on.
    """
    b, t, k = p.shape
    values = table[:, None, :].expand(b, 1, -1)
    for j in range(k):
        without, with_word = values.reshape(b, values.shape[1], 2, -1).unbind(2)
        values = without + p[:, :, j, None] * (with_word - without)
    return values.squeeze(-1).expand(b, t)
