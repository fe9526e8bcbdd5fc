"""Pairs that cannot be read, explained or scored: told, and too many of them are an error."""

from __future__ import annotations

from collections.abc import Mapping

from gmask_pl.escaping import visible
from gmask_pl.processes import say
from gmask_pl.types import JSON, PairSource, UserError

READING, EXPLAINING, SCORING = "reading", "explaining", "scoring"
_SHOWN = 3  # reasons in a message


def check_split(source: PairSource, split: str, most: float) -> dict[str, str]:
    """The lines of a split that hold no pair, and why.

    Raises UserError where their share of all lines is above ``most``.
    """
    failed = source.failed(split)
    total = len(failed) + len(source.load(split))
    judge(failed, total, most, f"lines of the {split} split hold no pair")
    return failed


def check_any_left(failed: JSON, pairs: int) -> None:
    """Raises UserError where every pair was explained or scored in vain."""
    every = failed_pairs(failed)
    if len(every) == pairs:
        raise UserError(f"all {pairs} pairs failed: {_shown(every)}")


def check_run(failed: JSON, pairs: int, most: float) -> None:
    """Judges the pairs that were explained or scored in vain, as metrics.json has them.

    Raises UserError where their share is above ``most``.
    """
    judge(failed_pairs(failed), pairs, most, "pairs failed and are left out")


def failed_pairs(failed: JSON) -> dict[str, str]:
    """The pairs of a run that were explained or scored in vain, and why, by id."""
    return {**failed.get(EXPLAINING, {}), **failed.get(SCORING, {})}


def judge(failed: Mapping[str, str], total: int, most: float, what: str) -> None:
    """Says how many of ``total`` failed, and why the first did.

    Raises UserError where their share is above ``most``.
    """
    if not failed:
        return
    told = f"{len(failed)} of {total} {what}: {_shown(failed)}"
    if len(failed) > most * total:
        raise UserError(f"{told}. That is a larger share than max_failed={most:g} allows")
    say(told)


def _shown(failed: Mapping[str, str]) -> str:
    first = [visible(f"{name}: {reason}") for name, reason in list(failed.items())[:_SHOWN]]
    more = [f"and {len(failed) - _SHOWN} more"] if len(failed) > _SHOWN else []
    return "; ".join(first + more)
