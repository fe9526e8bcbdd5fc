"""Word groups that are not learnt: what GMASK's are compared with."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from gmask_pl.explainers._group_mask import GroupShape
from gmask_pl.explainers.gmask import GMask, ResponseTables, worth_shares
from gmask_pl.explainers.interaction import interaction_index

_TIE = 1e-9  # parts distances that are equal


class GivenGroups(GMask):
    """GMASK with another way to cut the k words into t groups; the rest is as it is.

    Every word belongs to one group, and psi is a group's share of what the groups do, see
    `worth_shares`.
    """

    @abstractmethod
    def cut(
        self, tables: ResponseTables, shape: GroupShape, generators: list[torch.Generator]
    ) -> Tensor:
        """The group of every candidate, (B, k) int64, from 0 to t - 1."""

    def groups(
        self, tables: ResponseTables, shape: GroupShape, generators: list[torch.Generator]
    ) -> tuple[Tensor, Tensor]:
        group = self.cut(tables, shape, generators)
        largest = shape.group_used.shape[1]
        phi = torch.nn.functional.one_hot(group, largest).double() * shape.used[..., None]
        return phi, worth_shares(tables, phi, shape)


class RandomGroups(GivenGroups):
    """Puts the k words into t groups at random, as evenly as possible: what GMASK must beat.

    - settings: those of `GMask`; its objective and its descent take no part.

    >>> from gmask_pl import PairExplainer, RandomGroups
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> method = RandomGroups.two_sided(k=4, t=2)
    >>> explain = PairExplainer(model, method=method, labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> sorted(len(group.words) for group in found.word_groups)
    [2, 2]
    """

    def cut(
        self, tables: ResponseTables, shape: GroupShape, generators: list[torch.Generator]
    ) -> Tensor:
        b, k = shape.side.shape
        group = torch.zeros(b, k, dtype=torch.int64)
        for row, (n, t) in enumerate(shape.sizes):
            group[row, :n] = torch.randperm(n, generator=generators[row]) % t
        return group.to(shape.side.device)


class InteractionGroups(GivenGroups):
    """Puts words that interact most into one group, see `interaction_groups`.

    - settings: those of `GMask`; its objective and its descent take no part.

    >>> from gmask_pl import InteractionGroups, PairExplainer
    >>> def model(pairs):  # p(no), p(yes): two words decide together
    ...     return [[0.1, 0.9] if "not" in a and "never" in b else [0.9, 0.1] for a, b in pairs]
    >>> method = InteractionGroups.two_sided(k=3, t=2)
    >>> explain = PairExplainer(model, method=method, labels=["no", "yes"])
    >>> found = explain("do not go", "he never goes")
    >>> found.top_group
    ('not', 'never')
    """

    def cut(
        self, tables: ResponseTables, shape: GroupShape, generators: list[torch.Generator]
    ) -> Tensor:
        return interaction_groups(tables, shape)


def interaction_groups(tables: ResponseTables, shape: GroupShape) -> Tensor:
    """Groups (B, k) int64 of the candidates by what they do in pairs; 0 for an unused slot.

    Two words are the closer the more they do together where only candidates are kept, and the
    more each makes the other superfluous in the whole text: the positive part of the Shapley
    interaction in the one table and the negative part in the other. Average linkage, cut into t
    groups.
    """
    together = interaction_index((-tables.kept.double()).exp()).clamp_min(0)
    superfluous = -interaction_index(tables.removed.double().flip(1)).clamp_max(0)
    strength = (together + superfluous).cpu().numpy()
    group = torch.zeros(shape.side.shape, dtype=torch.int64)
    for row, (n, t) in enumerate(shape.sizes):
        group[row, :n] = torch.from_numpy(clusters(strength[row, :n, :n], t))
    return group.to(shape.side.device)


def clusters(strength: np.ndarray, t: int) -> np.ndarray:
    """The cluster (n,) of each of n things by their symmetric ``strength`` (n, n).

    There are t, or n where that is less. Words that have nothing to do with one another are all
    equally far: of these, those that do least are joined first.
    """
    if len(strength) < 2:
        return np.zeros(len(strength), dtype=np.int64)
    does = strength.sum(1)
    distance = strength.max() - strength + _TIE * (does[:, None] + does)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    found: np.ndarray = cut_tree(tree, n_clusters=min(t, len(strength)))[:, 0]
    return found.astype(np.int64)
