"""The base of explainers: a function of a masked model."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor

from gmask_pl.explainers.training_context import TrainingContext
from gmask_pl.masking.masked_model import MaskedModel, RemovalName
from gmask_pl.settings import checked
from gmask_pl.types import JSON, Attributions, UserError

# What scores are measured in, see `Explainer.score_meaning`.
IN_VALUE = "in the unit of the number explained; negative: the word speaks against it"
# Of methods that find an order, and deal out the Shapley values of the words by it.
BY_RANK = (
    "in the unit of the number explained, dealt out by rank: the order is what counts; "
    "negative: the word is ranked behind those that speak for it"
)
IN_LOG = "in the logarithm of the probability explained; negative: the word speaks against it"


class Explainer(ABC):
    """Attributes a model's predictions on a batch of pairs to their words.

    - removal: what removing a word means while explaining (see `gmask_pl.masking.masked_model`);
      None: the model's usual removal.

    A subclass defines `__call__` and these attributes:

    - differentiates_masks: whether it asks for gradients in masks, which depend on the removal.
    - reads_attention: whether it asks the model for its attention.
    - score_meaning: the unit of its scores, and what their sign says, for people.

    >>> import torch
    >>> from gmask_pl import Explainer, PairExplainer
    >>> from gmask_pl.types import Attributions
    >>> class OneOut(Explainer):  # what the model loses without each word
    ...     def __call__(self, masked):
    ...         valid = masked.batch.word_valid
    ...         keep = ~torch.eye(valid.shape[1], dtype=torch.bool).expand(*valid.shape, -1)
    ...         lost = masked.whole[:, None] - masked.values(keep)
    ...         return Attributions(lost.masked_fill(~valid, 0.0), (None,) * len(valid))
    >>> def model(pairs):
    ...     return [float("dogs" in a) for a, _ in pairs]
    >>> PairExplainer(model, method=OneOut())("two dogs run", "dogs sleep").top(1)
    [('dogs', 1.0)]
    """

    differentiates_masks: bool = False
    reads_attention: bool = False
    score_meaning: str = "the higher, the more a word counts"

    @checked
    def __init__(self, *, removal: RemovalName | None = None) -> None:
        self.removal = removal

    @property
    def learns(self) -> bool:
        """Whether it, or an explainer that it is made of, learns from training pairs.

        >>> from gmask_pl import GMask, L2X
        >>> GMask().learns, GMask(word_filter=L2X()).learns
        (False, True)
        """
        return any(type(part).prepare is not Explainer.prepare for part in self.parts())

    def prepare(self, training: TrainingContext) -> JSON:
        """Called once before the first pair: learns from the training pairs what it needs.

        - training: the pairs, the model, and a folder for what is learnt. A `PairExplainer` makes
          it of its ``training_pairs``.

        Returns the cost, for the report; nothing if there is nothing to learn. Raises UserError if
        the pairs are not enough.

        >>> from gmask_pl import Occlusion
        >>> Occlusion().prepare(None)  # it learns nothing, so it needs no pairs
        {}
        """
        facts: JSON = {}
        for part in vars(self).values():
            if isinstance(part, Explainer):
                facts |= part.prepare(training)
        return facts

    def parts(self) -> Iterator[Explainer]:
        """The explainer itself, and those that it is made of, such as a filter of words.

        >>> from gmask_pl import GMask
        >>> [type(part).__name__ for part in GMask().parts()]
        ['GMask', 'IMask']
        """
        yield self
        for part in vars(self).values():
            if isinstance(part, Explainer):
                yield from part.parts()

    def within(self, budget: int) -> Self:
        """The explainer with its settings reduced to a budget of masked inputs per pair.

        - budget: the largest number of them.

        If the settings do not decide how many it needs, it stays as it was, and a pair that needs
        more fails. Raises UserError if no settings are small enough.

        >>> from gmask_pl import GMask, Lime
        >>> Lime().within(100).samples, GMask().within(500).k
        (99, 8)
        """
        changed = copy.deepcopy(self)
        changed._ask_at_most(budget)
        return changed

    def _ask_at_most(self, budget: int) -> None:
        """Changes its settings so, see `within`."""
        return

    @abstractmethod
    def __call__(self, masked: MaskedModel) -> Attributions:
        """Scores of all words of the batch, and word groups where the method finds them."""


def small_enough(name: str, least: int, budget: int) -> None:
    """Raises UserError for a budget below the least that a method can do with."""
    if budget < least:
        raise UserError(
            f"budget={budget}: {name} needs at least {least} calls a pair: give budget={least} or "
            "more, or a method that asks less, such as lime"
        )


def example_generators(seed: int, keys: Sequence[str]) -> list[torch.Generator]:
    """One random generator per example, seeded by (seed, key), with the ``PairBatch.keys``.

    A key identifies a pair by its content. So a pair gets the same explanation in any batch, alone,
    under any id, in any file, and on any number of devices.
    """
    generators = []
    for key in keys:
        digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest()
        generators.append(torch.Generator().manual_seed(int.from_bytes(digest) >> 1))
    return generators


def gumbel_noise(
    generators: Sequence[torch.Generator], shapes: Sequence[tuple[int, ...]], full: tuple[int, ...]
) -> Tensor:
    """Gumbel(0, 1) noise (B, *full), Eq. 12: each example draws its own shape, the rest is 0.

    Drawing by the example's own shape keeps its noise independent of the batch's padding.
    """
    noise = torch.zeros(len(generators), *full)
    for row, (generator, shape) in enumerate(zip(generators, shapes, strict=True)):
        uniform = torch.rand(shape, generator=generator).clamp_min(1e-20)
        own = noise[row]
        for axis, size in enumerate(shape):
            own = own.narrow(axis, 0, size)
        own.copy_(-(-uniform.log()).clamp_min(1e-20).log())
    return noise


def straight_through(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Gumbel-softmax samples over the last axis (Eq. 13): one-hot values, soft derivatives."""
    soft = ((logits + noise) / temperature).softmax(-1)
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard - soft.detach() + soft


def bounded(raw: Tensor, bound: float | None) -> Tensor:
    """Logits in (0, bound) by a sigmoid; unbounded when ``bound`` is None."""
    return raw if bound is None else bound * raw.sigmoid()
