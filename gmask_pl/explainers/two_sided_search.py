"""A search for the words that suffice and are missed, over all words of a pair."""

from __future__ import annotations

import torch
from torch import Tensor

from gmask_pl.explainers._readout import in_order
from gmask_pl.explainers.explainer import IN_VALUE, Explainer
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.masking.removal_orders import TIE
from gmask_pl.settings import Count, NotNegative, checked
from gmask_pl.types import Attributions


class TwoSidedSearch(Explainer):
    """Adds one word at a time: the word that suffices most and is missed most with those before it.

    - removal: how words are removed; None: as the model usually does.
    - steps: how many words are searched for; None: all of the pool. The others follow by what they
      gained on average, each step's mean being 0.
    - pool: the words that are tried from the second step on, the best of the first; None: all.
    - order_weight: of what is missed, against what suffices.

    Step u adds the word w to the words S of the steps before that maximises

        decided(S + w) + kept(S + w) - order_weight * removed(S + w),

    the sum that `two_sided_order` maximises over whole orders. Here kept is p(y | only these
    words), removed is p(y | the text without them), and decided is 1 where only these words lead to
    the decision y. Of words that are alike the earlier is taken. Nothing is drawn at random, and
    the search asks for answers only.

    The scores are what single words do, dealt out in the order that is found. What a word does is
    the mean of what it brings alone and what is lost without it.

    A pair of n words needs 2 n evaluations for the first step and, for each further one, 2 for each
    word of the pool that is left. With a budget of fewer than 2 n the first step only asks about
    the text without each word, n evaluations.

    >>> from gmask_pl import PairExplainer, TwoSidedSearch
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> explain = PairExplainer(model, method=TwoSidedSearch(), labels=["no", "yes"])
    >>> [word for word, _ in explain("do not go", "he never goes").top(2)]
    ['not', 'never']
    """

    score_meaning = IN_VALUE

    most_evaluations: int | None = None  # of a pair, where there is a budget

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        steps: Count | None = None,
        pool: Count | None = 32,
        order_weight: NotNegative = 3.0,  # as `GMask`, chosen on dev pairs
    ) -> None:
        super().__init__(removal=removal)
        self.steps, self.pool, self.order_weight = steps, pool, order_weight

    def _ask_at_most(self, budget: int) -> None:
        # The whole pair and the empty one are asked as well, this also for the share of a score.
        self.most_evaluations = min(self.most_evaluations or budget, budget) - 3

    def __call__(self, masked: MaskedModel) -> Attributions:
        valid = masked.batch.word_valid
        words = valid.sum(1, keepdim=True)
        found = torch.zeros_like(valid)
        order = torch.full(valid.shape, valid.shape[1] - 1, device=valid.device)
        tried, spent = valid, torch.zeros_like(words)
        # Where the budget is too small for both sides, the text without each word says most.
        few = 2 * words > (2 * words if self.most_evaluations is None else self.most_evaluations)
        single = mean = torch.zeros(valid.shape, dtype=torch.float64, device=valid.device)
        most = int(words.max())
        for step in range(most if self.steps is None else min(self.steps, most)):
            left = tried & ~found
            missed_only = few & (step == 0)
            cost = torch.where(missed_only, 1, 2) * left.sum(1, keepdim=True)
            if self.most_evaluations is not None and step:
                left = left & (spent + cost <= self.most_evaluations)
            if not bool(left.any()):
                break
            spent = spent + cost
            keep = self._with_each(found, left)
            without = valid[:, None] & ~keep
            # Equal masks cost one evaluation: what is asked in place of words alone costs nothing.
            alone = torch.where(missed_only[..., None], without, keep)
            logits = masked.logits(torch.cat([alone, without], 1), left.any(1))
            gain = self._gain(masked, logits, missed_only).masked_fill(~left, 0.0)
            more = gain - gain.sum(1, keepdim=True) / left.sum(1, keepdim=True).clamp_min(1)
            mean = torch.where(left, mean + (more - mean) / (step + 1), mean)
            if not step:
                single = self._single(masked, logits, missed_only)
                tried = self._pool(gain, valid)
            best = self._best(gain, left)
            order = torch.where(best, step, order)
            found = found | best
        return Attributions(self._scores(order, mean, single, valid), (None,) * len(valid))

    def _with_each(self, found: Tensor, left: Tensor) -> Tensor:
        """Keep-masks (B, W, W): the words that were found, and one that is left.

        In place of what is not left the first that is left is asked again, so it costs nothing.
        """
        words = torch.arange(found.shape[1], device=found.device)
        word = torch.where(left, words, left.long().argmax(1, keepdim=True))
        return found[:, None] | (words == word[..., None])

    def _gain(self, masked: MaskedModel, logits: Tensor, missed_only: Tensor) -> Tensor:
        """The sum above for each word (B, W), of logits (B, 2 W, M), or what is missed."""
        width = logits.shape[1] // 2
        share = (-masked.loss_of(logits)).exp().double()
        decided = masked.answers_of(logits).same[:, :width].double()
        missed = share[:, width:]
        both = decided + share[:, :width] - self.order_weight * missed
        return torch.where(missed_only, -missed, both)

    def _single(self, masked: MaskedModel, logits: Tensor, missed_only: Tensor) -> Tensor:
        """What each word brings alone and what is lost without it, the mean (B, W); or the last."""
        width = logits.shape[1] // 2
        value = masked.answers_of(logits).value.double()
        none = torch.zeros_like(masked.batch.word_valid)[:, None]
        empty, whole = masked.values(none).double(), masked.whole[:, None].double()
        lost = whole - value[:, width:]
        return torch.where(missed_only, lost, (value[:, :width] - empty + lost) / 2)

    def _pool(self, gain: Tensor, valid: Tensor) -> Tensor:
        """The words that are tried after the first step, (B, W)."""
        if self.pool is None or self.pool >= valid.shape[1]:
            return valid
        ranked = _ranked(gain, valid)
        return valid & (ranked.argsort(1) < self.pool)

    def _best(self, gain: Tensor, left: Tensor) -> Tensor:
        """The word (B, W) bool with the highest gain of those left, the first of equals."""
        score = gain.masked_fill(~left, -torch.inf)
        near = left & (score >= score.amax(1, keepdim=True) - TIE)
        return near & (near.cumsum(1) == 1)

    def _scores(self, order: Tensor, mean: Tensor, single: Tensor, valid: Tensor) -> Tensor:
        by_mean = _ranked(mean, valid).argsort(1)
        rank = (order * mean.shape[1] + by_mean).masked_fill(~valid, mean.shape[1] ** 2)
        return in_order(rank.argsort(dim=1, stable=True), single.masked_fill(~valid, 0), valid)


def _ranked(gain: Tensor, valid: Tensor) -> Tensor:
    """The words (B, W) by falling gain, the earlier of equals first; what is no word comes last."""
    coarse = (gain / TIE).round().masked_fill(~valid, -torch.inf)
    return coarse.argsort(dim=1, descending=True, stable=True)
