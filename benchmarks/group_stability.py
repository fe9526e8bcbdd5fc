"""How much word groups change with what should not change them.

    python -m benchmarks.group_stability --pairs 100 --explainers joint_groups,gmask_two_sided \
        model=bert dataset=esnli dataset.path=... weights=...

Every pair is explained again with other seeds, with the pairs in another order, with words removed
in other ways, and without its first function word that is in no group. A row is the mean agreement
with the first explanation, with its 95 % bootstrap interval over pairs: adjusted Rand index of the
groups, Jaccard index of the words of the top group, and Kendall's tau of the word scores. What is
not an option is an override of explain.py's configuration. The rows also go to
<output>/benchmarks/group_stability.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.common import Bench, prepared, report
from gmask_pl import Explanation, PairExplainer
from gmask_pl.metrics.bootstrap import estimate
from gmask_pl.metrics.groups.group_agreement import Agreement, agreement

# Closed-class words of English that a text mostly means the same without.
FUNCTION_WORDS = frozenset(
    ("a", "an", "the", "of", "in", "on", "at", "to", "for", "with", "by", "from", "and", "or",
     "that", "this", "there", "is", "are", "was", "were", "be", "it")
)  # fmt: skip
MEASURES = ("rand", "jaccard", "tau")
Texts = list[tuple[str, str]]


def measured(
    bench: Bench, explainer: str, seeds: Sequence[int], removals: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The rows of one explainer, a row for each change."""
    texts = [(example.text1, example.text2) for example in bench.examples]

    def explained(pairs: Texts, *changes: str) -> list[Explanation]:
        method = replace(bench, overrides=(*bench.overrides, *changes)).explainer(explainer)
        size = bench.cfg.batch_size
        explain = PairExplainer(bench.classifier, method=method, batch_size=size)
        return list(explain.many(pairs, progress=True))

    first = explained(texts)
    for seed in seeds:
        yield row(explainer, f"seed {seed}", plain(first, explained(texts, f"seed={seed}")))
    turned = explained(texts[::-1])[::-1]
    yield row(explainer, "order of pairs", plain(first, turned))
    for removal in removals:
        found = explained(texts, f"model.removal={removal}")
        yield row(explainer, f"removal {removal}", plain(first, found))
    cut = [(one, place) for one in first if (place := superfluous(one)) is not None]
    again = explained([without(one, place) for one, place in cut])
    alike = []
    for (one, place), other in zip(cut, again, strict=True):
        places = {i: i - (i > place) for i in range(len(one.words)) if i != place}
        if len(other.words) == len(one.words) - 1 and other.prediction == one.prediction:
            alike.append(agreement(one, other, places))
    yield row(explainer, "a function word less", alike)


def plain(first: Sequence[Explanation], again: Sequence[Explanation]) -> list[Agreement]:
    return [agreement(one, other) for one, other in zip(first, again, strict=True)]


def superfluous(one: Explanation) -> int | None:
    """The first function word in no group, of a side that has other words."""
    grouped = {place for group in one.word_groups for place in group.positions}
    n1 = len(one.words1)
    for place, word in enumerate(one.words):
        side = n1 if place < n1 else len(one.words2)
        if word.lower() in FUNCTION_WORDS and place not in grouped and side > 1:
            return place
    return None


def without(one: Explanation, place: int) -> tuple[str, str]:
    """The texts of a pair without a word."""
    assert one.text1 is not None and one.spans1 is not None  # noqa: PT018
    assert one.text2 is not None and one.spans2 is not None  # noqa: PT018
    n1 = len(one.words1)
    if place < n1:
        start, end = one.spans1[place]
        return one.text1[:start] + one.text1[end:].lstrip(), one.text2
    start, end = one.spans2[place - n1]
    return one.text1, one.text2[:start] + one.text2[end:].lstrip()


def row(explainer: str, change: str, alike: Sequence[Agreement]) -> dict[str, Any]:
    found: dict[str, Any] = {"explainer": explainer, "change": change, "pairs": len(alike)}
    for measure in MEASURES:
        known = [value for one in alike if (value := getattr(one, measure)) is not None]
        if known:
            numbers = torch.tensor(known, dtype=torch.float64)[:, None]
            own = estimate(numbers, lambda means: means, resamples=2000, seed=0)
            value, low, high = float(own.value[0]), float(own.low[0]), float(own.high[0])
            found |= {measure: value, f"{measure} low": low, f"{measure} high": high}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--explainers", default="joint_groups,gmask_two_sided,gmask")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--removals", default="delete,mask")
    options, overrides = parser.parse_known_args()
    bench = prepared(overrides, options.pairs)
    removals = options.removals.split(",")
    rows = [
        row
        for explainer in options.explainers.split(",")
        for row in measured(bench, explainer, options.seeds, removals)
    ]
    report(bench, "group_stability", rows)


if __name__ == "__main__":
    main()
