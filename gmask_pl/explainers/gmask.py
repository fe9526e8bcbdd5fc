"""GMASK: word-group masks across a sentence pair (Section 3).

Where the equations are:

- Eq. 1, what a mask does to the text: `gmask_pl.masking.masked_model`;
- Eqs. 2 to 4, a word is kept when the group that it belongs to is: here, `GMask.expected_loss`,
  over the answers that `ResponseTables` asks for;
- Eqs. 5 to 7, memberships phi, importance psi and the objective: `_group_mask.GroupMask`, with
  the samples of Eqs. 12 and 13 (Appendix A) in `_group_mask.SampledLoss`;
- Eq. 8, the score of a word: `GMask.theta`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

import torch
from torch import Tensor

from gmask_pl.explainers._coalition import (
    CONTEXTS,
    DROP,
    KEEP,
    VALUES,
    CandidateExplainer,
    all_coalitions,
    check_table,
    coalition_index,
    in_text_order,
    word_masks,
)
from gmask_pl.explainers._group_mask import (
    ExactLoss,
    ExpectedLoss,
    Fit,
    GroupMask,
    GroupShape,
    Objective,
    SampledLoss,
    Sampling,
    fit_groups,
    table_answer,
)
from gmask_pl.explainers._readout import missed_order, owen_values, two_sided_order
from gmask_pl.explainers.explainer import BY_RANK, IN_VALUE, Explainer, example_generators
from gmask_pl.explainers.paired_ridge import PairedRidge
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import NotNegative, OneOf, Seed, at_least, checked, made
from gmask_pl.types import Attributions, Groups, PairBatch, UserError

ESTIMATORS = ("exact", "straight_through", "sampled")
READOUTS = ("membership", "owen", "order", "missed")


class GMask(CandidateExplainer):
    """Groups correlated words of both sides and weighs the groups (Eqs. 2 to 8).

    - removal: how words are removed; None: as the model usually does.
    - word_filter: the explainer whose k best words are grouped; None: IMASK, as in the paper.
    - k: words that are grouped.
    - t: the number of groups; None: min(k_1, k_2) as in the paper, but at least 2, since one group
      ranks nothing.
    - context: whether the words outside the k are dropped or kept while the k are studied.
    - estimator: how E[cross-entropy] of Eq. 7 is estimated, see below.
    - sampling: settings of the two estimators that sample. objective, fit: settings of Eq. 7 and of
      its minimisation.
    - value: what the loss asks of a group alone: ``log_probability``, the cross-entropy of Eq. 7,
      or ``probability``, for -p(y|.) in its place.
    - removed_weight: the weight of p(y | the text without the group) in the loss. In the paper it
      is 0: a group must only be sufficient. Above 0 it must be missed, too, and the model is also
      asked about the text without each subset.
    - readout: how the k words are scored, see below. order_weight: the weight of being missed, in
      ``order``.
    - seed: of what is drawn at random.

    Estimators:

    - ``exact``: in closed form from a table of the model's answers to all 2^k masks; it needs
      no gradients beyond those of the filter;
    - ``straight_through``: the paper's Gumbel-softmax samples, read from such a table;
    - ``sampled``: the same samples, the model being asked at every step, as the paper ran it.

    Readouts:

    - ``membership``: theta of Eq. 8;
    - ``owen``: their Owen values under the groups (a word in the group that it belongs to most),
      of the mean of what a subset does alone and what is lost without it;
    - ``order``: by the order whose first words suffice most and are missed most at every length,
      with order_weight on the latter, see `two_sided_order`. It does not depend on the groups;
    - ``missed``: by the order with the largest losses alone, the bound of AOPC over these k words.

    All except the first need both tables, and read the importance of a group from them, too, see
    `worth_shares`. The learnt psi only says which single group has the lowest loss. If the model
    keeps its prediction without any words, that group may be irrelevant.

    Raises UserError for more groups than words, and for a table of too many words. ``GMask()`` is
    the paper's, ``GMask(k=4, t=2)`` smaller, ``GMask.two_sided()`` this project's.

    >>> from gmask_pl import GMask, Occlusion, PairExplainer
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> method = GMask(k=3, t=2, word_filter=Occlusion())
    >>> explain = PairExplainer(model, method=method, labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> found.top_group
    ('not', 'never')
    """

    @checked
    def __init__(
        self,
        *,
        removal: RemovalName | None = None,
        word_filter: Explainer | None = None,
        k: Annotated[int, at_least(2, "words, to form groups")] = 10,  # Section 3.3
        t: Annotated[int, at_least(2, "one group ranks nothing; null: as in the paper")]
        | None = None,
        context: Annotated[str, OneOf(CONTEXTS)] = DROP,  # as in the authors' code
        estimator: Annotated[str, OneOf(ESTIMATORS)] = "exact",
        sampling: Sampling = Sampling(),
        objective: Objective = Objective(),
        fit: Fit = Fit(),
        value: Annotated[str, OneOf(VALUES)] = "log_probability",  # Eq. 7
        removed_weight: NotNegative = 0.0,  # Eq. 7
        readout: Annotated[str, OneOf(READOUTS)] = "membership",  # Eq. 8
        order_weight: NotNegative = 3.0,  # chosen on dev pairs
        seed: Seed = 0,
    ) -> None:
        super().__init__(removal=removal, word_filter=word_filter, k=k, seed=seed)
        if t is not None and t > k:
            raise UserError(f"t={t}: {k} words (k={k}) form no more than {k} groups")
        if estimator != "sampled":
            check_table(k)
        self.t, self.context, self.estimator = t, context, estimator
        self.sampling, self.objective = made(Sampling, sampling), made(Objective, objective)
        self.fit, self.value = made(Fit, fit), value
        self.removed_weight, self.readout, self.order_weight = removed_weight, readout, order_weight
        self.seed = seed
        self.differentiates_masks |= estimator != "exact"

    @classmethod
    def two_sided(cls, *, seed: int = 0, **changes: Any) -> Self:
        """Finds words that suffice and are missed, their best order, and groups of them.

        - seed: of what is drawn at random.
        - changes: other values for settings of the constructor.

        This method is not in the paper. Its settings were chosen on dev pairs. It needs no
        gradients of the model.

        >>> from gmask_pl import GMask, PairExplainer
        >>> def model(pairs):  # p(no), p(yes): two words decide together
        ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
        >>> explain = PairExplainer(model, method=GMask.two_sided(k=3, t=2), labels=["no", "yes"])
        >>> found = explain("do not go", "he never goes")
        >>> found.top_group, found.gradients
        (('not', 'never'), 0)
        """
        own: dict[str, Any] = {
            "word_filter": PairedRidge(removal=changes.get("removal"), seed=seed),
            "objective": Objective(logit_bound=None),  # free logits reach better optima
            "removed_weight": 1.0,  # 3 splits words that only decide together
            "readout": "order",
        }
        return cls(**own | changes, seed=seed)

    @property
    def score_meaning(self) -> str:  # type: ignore[override]
        shares = "share from 0 to 1 of the importance of the groups (Eq. 8); never negative"
        if self.readout == "membership":
            return shares
        return IN_VALUE if self.readout == "owen" else BY_RANK

    @property
    def tables(self) -> int:
        both = self.removed_weight > 0 or self.readout != "membership"
        return 2 if both else 1

    def attribute(self, masked: MaskedModel, candidates: Tensor) -> Attributions:
        shape = group_shape(candidates, masked.batch, self.t)
        generators = example_generators(self.seed, masked.batch.keys)
        tables = ResponseTables(self.learnt_on(masked, candidates), candidates, self.context)
        phi, psi = self.groups(tables, shape, generators)
        theta = self.theta(tables, phi, psi)
        if self.readout != "membership":
            psi = worth_shares(tables, phi, shape)
        asked = masked is tables.masked and self.context == DROP
        effects = tables.of_groups(phi, shape) if asked else (None, None)
        return Attributions(theta, read_groups(candidates, phi, psi, shape, *effects))

    def candidates(self, filtered: Tensor, batch: PairBatch) -> Tensor:
        """The words to be grouped (B, k), in the order of the text.

        The order of the filter would change with the rounding of two scores that are alike, and
        with it what a fit starts from and which of equal orders is found.
        """
        return in_text_order(super().candidates(filtered, batch), filtered.shape[1])

    def groups(
        self, tables: ResponseTables, shape: GroupShape, generators: list[torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        """phi (B, k, t) and psi (B, t) of every pair."""
        loss = self.expected_loss(tables, shape, generators)
        masks = GroupMask(shape, loss, generators, self.objective, self.fit)
        phi, psi, _ = fit_groups(masks, self.fit)
        return phi, psi

    def learnt_on(self, masked: MaskedModel, candidates: Tensor) -> MaskedModel:
        """The model and the text over which the masks of the candidates are learnt."""
        return masked

    def expected_loss(
        self, tables: ResponseTables, shape: GroupShape, generators: list[torch.Generator]
    ) -> ExpectedLoss:
        """The chosen estimator of the expected loss over masks of the candidates."""
        weight = self.removed_weight
        if self.estimator == "exact":
            kept = tables.kept if self.value == "log_probability" else -(-tables.kept).exp()
            return ExactLoss(kept + weight * tables.removed if weight else kept)

        def ask(bits: Tensor, *, distinct: bool) -> tuple[Tensor, Tensor]:
            loss, gradient = tables.kept_gradient(bits, distinct=distinct)
            if self.value == "probability":
                p = (-loss).exp()
                loss, gradient = -p, p[..., None] * gradient
            if weight:
                p, slope = tables.removed_gradient(bits, distinct=distinct)
                loss, gradient = loss + weight * p, gradient + weight * slope
            return loss, gradient * shape.used[:, None]

        if self.estimator == "sampled":
            return SampledLoss(
                lambda bits: ask(bits, distinct=False), shape, generators, self.sampling
            )
        answer = table_answer(*ask(tables.bits, distinct=True))
        return SampledLoss(answer, shape, generators, self.sampling)

    def theta(self, tables: ResponseTables, phi: Tensor, psi: Tensor) -> Tensor:
        """The scores of the candidates (B, k), by ``readout``."""
        if self.readout == "membership":
            return (phi * psi[:, None]).sum(-1)
        if self.readout == "owen":
            return owen_values(tables.worth, phi.argmax(-1))
        if self.readout == "missed":
            removed = tables.removed.double()
            return missed_order(tables.worth, removed, tables.candidates >= 0)
        return tables.two_sided_scores(self.order_weight)


class ResponseTables:
    """What the model says of subsets of the candidates alone, and of the text without them.

    p(y | .) is the share of what is asked for, see `MaskedModel.loss`; in the paper the probability
    of the predicted class y.

    context: of `word_masks`, for a subset alone. Tables are in table order, asked for once.
    """

    def __init__(self, masked: MaskedModel, candidates: Tensor, context: str) -> None:
        self.masked, self.candidates, self.context = masked, candidates, context

    @property
    def bits(self) -> Tensor:
        """All subsets, (1, 2^k, k) bool."""
        return all_coalitions(self.candidates.shape[1]).to(self.candidates.device)[None]

    @cached_property
    def _alone(self) -> Tensor:
        """Logits of a subset alone, (B, 2^k, M)."""
        return self.masked.logits(self._keep(self.bits))

    @cached_property
    def _left(self) -> Tensor:
        """Logits of the text without a subset, (B, 2^k, M)."""
        return self.masked.logits(self._without(self.bits))

    @cached_property
    def kept(self) -> Tensor:
        """-log p(y | a subset), (B, 2^k)."""
        return self.masked.loss_of(self._alone)

    @cached_property
    def decided(self) -> Tensor:
        """Whether the decision about a subset is that of the whole pair, (B, 2^k) bool."""
        return self.masked.answers_of(self._alone).same

    @cached_property
    def still_decided(self) -> Tensor:
        """Whether the decision about the text without a subset is the same, (B, 2^k) bool."""
        return self.masked.answers_of(self._left).same

    @cached_property
    def removed(self) -> Tensor:
        """p(y | the text without a subset), (B, 2^k)."""
        return (-self.masked.loss_of(self._left)).exp()

    @cached_property
    def worth(self) -> Tensor:
        """What a subset is worth on both sides, (B, 2^k) float64.

        The mean of the number that is asked for of the subset, in the paper p(y | the subset), and
        of the text without the other candidates.
        """
        alone, left = self.values
        return (alone.double() + left.double().flip(1)) / 2

    @cached_property
    def values(self) -> tuple[Tensor, Tensor]:
        """The number that is asked for, of a subset and of the text without it, each (B, 2^k)."""
        alone, left = map(self.masked.answers_of, (self._alone, self._left))
        return alone.value, left.value

    def two_sided_scores(self, removed_weight: float) -> Tensor:
        """`two_sided_order` of the candidates, (B, k) float64."""
        return two_sided_order(
            self.worth,
            (-self.kept.double()).exp(),
            self.decided,
            self.removed.double(),
            self.candidates >= 0,
            removed_weight=removed_weight,
        )

    def of_groups(self, phi: Tensor, shape: GroupShape) -> tuple[Tensor | None, Tensor | None]:
        """The number that is asked for, of each group alone and of the text without it: (B, t).

        None where no table of it has been asked for: this asks the model nothing.
        """
        group = group_index(phi, shape)
        tables = (vars(self).get(name) for name in ("_alone", "_left"))
        alone, left = (
            None if logits is None else self.masked.answers_of(logits).value.gather(1, group)
            for logits in tables
        )
        return alone, left

    def kept_gradient(self, bits: Tensor, *, distinct: bool) -> tuple[Tensor, Tensor]:
        """-log p(y | subsets) (B, S) of bits (B or 1, S, k), and its gradient in them (B, S, k)."""
        loss, gradient = self.masked.loss_gradient(self._keep(bits), distinct=distinct)
        return loss, self._of_candidates(gradient)

    def removed_gradient(self, bits: Tensor, *, distinct: bool) -> tuple[Tensor, Tensor]:
        """p(y | the text without subsets) (B, S), and its gradient in their bits (B, S, k)."""
        loss, gradient = self.masked.loss_gradient(self._without(bits), distinct=distinct)
        p = (-loss).exp()
        # dp/dm = -p * d loss/dm, and a bit removes: dm/dbit = -1.
        return p, p[..., None] * self._of_candidates(gradient)

    def _keep(self, bits: Tensor) -> Tensor:
        return word_masks(bits, self.candidates, self.masked.batch.word_valid, self.context)

    def _without(self, bits: Tensor) -> Tensor:
        return word_masks(~bits, self.candidates, self.masked.batch.word_valid, KEEP)

    def _of_candidates(self, gradient: Tensor) -> Tensor:
        columns = self.candidates.clamp_min(0)[:, None].expand(-1, gradient.shape[1], -1)
        return gradient.gather(2, columns)


def worth_shares(tables: ResponseTables, phi: Tensor, shape: GroupShape) -> Tensor:
    """Each group's share of the effects of all groups, (B, t); a word is where its phi is highest.

    The effect of a group is what its words add to the empty pair, plus what the whole pair loses
    without them, if the sum is positive. Groups without any effect have equal shares.
    """
    index = group_index(phi, shape)
    alone, without = (-tables.kept.double()).exp(), tables.removed.double()
    gained = alone.gather(1, index) - alone[:, :1]
    lost = without[:, :1] - without.gather(1, index)
    worth = (gained + lost).clamp_min(0).masked_fill(~shape.group_used, 0)
    total = worth.sum(1, keepdim=True)
    equal = shape.group_used / shape.group_used.sum(1, keepdim=True)
    return torch.where(total > 0, worth / total.clamp_min(1e-12), equal)


def group_index(phi: Tensor, shape: GroupShape) -> Tensor:
    """The table row (B, t) of every group as a subset, a word being in the group it is most in."""
    member = torch.nn.functional.one_hot(phi.argmax(-1), phi.shape[2]) * shape.used[..., None]
    return coalition_index(member.transpose(1, 2))


def group_shape(candidates: Tensor, batch: PairBatch, t: int | None = None) -> GroupShape:
    """Sides of the candidates and the number of groups of every pair.

    t groups where the pair has as many candidates; None: max(2, min(k_1, k_2)).
    """
    side = batch.word_side.gather(1, candidates.clamp_min(0))
    side = torch.where(candidates < 0, -1, side)
    if t is not None:
        return GroupShape(side, (side >= 0).sum(1).clamp(2, t))
    smaller = torch.minimum((side == 0).sum(1), (side == 1).sum(1))
    return GroupShape(side, smaller.clamp_min(2))


def read_groups(
    candidates: Tensor,
    phi: Tensor,
    psi: Tensor,
    shape: GroupShape,
    kept: Tensor | None = None,
    removed: Tensor | None = None,
) -> tuple[Groups, ...]:
    """The fitted groups of every pair, without unused slots.

    kept, removed (B, t): see `Groups`; None where that is not known.
    """
    return tuple(
        Groups(
            candidates=tuple(candidates[row, :words].tolist()),
            phi=tuple(map(tuple, phi[row, :words, :t].tolist())),
            psi=tuple(psi[row, :t].tolist()),
            kept=None if kept is None else tuple(kept[row, :t].double().tolist()),
            removed=None if removed is None else tuple(removed[row, :t].double().tolist()),
        )
        for row, (words, t) in enumerate(shape.sizes)
    )
