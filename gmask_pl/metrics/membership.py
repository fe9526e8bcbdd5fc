"""Which group each word of an explanation belongs to."""

from __future__ import annotations

from gmask_pl.types import Groups


def hard_groups(groups: Groups) -> list[frozenset[int]]:
    """The words of each group, the most important group first; of equals the earlier.

    A word belongs to the group of its highest membership phi, of equals the first. Groups that
    no word belongs to are left out.
    """
    members: dict[int, set[int]] = {}
    for word, row in zip(groups.candidates, groups.phi, strict=True):
        members.setdefault(row.index(max(row)), set()).add(word)
    by_importance = sorted(members, key=lambda group: (-groups.psi[group], group))
    return [frozenset(members[group]) for group in by_importance]
