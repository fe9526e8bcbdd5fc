"""Groups of words with joint effects, and the search that finds their candidates."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_example
from torch import Tensor

from gmask_pl import (
    AlignmentAgreement,
    EvidenceRecovery,
    Explanation,
    ExplanationMetric,
    Explanations,
    GroupEffect,
    GroupEvidence,
    GroupSides,
    JointGroups,
    PairExplainer,
    TwoSidedSearch,
    read_explanations,
)
from gmask_pl.drawing.cards import make_card
from gmask_pl.drawing.legend import legend
from gmask_pl.explainers._coalition import all_coalitions
from gmask_pl.explainers.joint_groups import best_partition, closed_indices
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.masking.removal_orders import TIE
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import PairExample

ONE, TWO = "the dog runs past here", "a cat sleeps in it"


def tables(k: int, *, pairs: int = 2, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(k)
    return torch.rand(pairs, count, 2**k, generator=generator, dtype=torch.float64)


def partitions(words: list[int]) -> Iterator[list[list[int]]]:
    """Every way to cut some of the words into groups."""
    if not words:
        yield []
        return
    first, rest = words[0], words[1:]
    for found in partitions(rest):
        yield found
        yield [[first], *found]
        for i, group in enumerate(found):
            yield [*found[:i], [first, *group], *found[i + 1 :]]


def index_of(words: list[int], k: int) -> int:
    return sum(2 ** (k - 1 - j) for j in words)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_index_of_words_is_what_a_regression_on_all_their_subsets_explains(k: int) -> None:
    table = tables(k)
    explained, joint = closed_indices(table, torch.ones(2, k, dtype=torch.bool))
    bits = all_coalitions(k).numpy()
    for pair in range(2):
        values = table[pair].numpy()
        for subset in range(1, 2**k):
            own = np.flatnonzero(bits[subset])
            cells = bits[:, own] @ 2 ** np.arange(len(own))
            means = np.array([[row[cells == c].mean() for c in cells] for row in values])
            share = means.var(1).sum() / values.var(1).sum()
            assert float(explained[pair, subset]) == pytest.approx(share, abs=1e-9)
            twos = 0.0
            for i, j in combinations(own, 2):
                sign = (2.0 * bits[:, i] - 1) * (2.0 * bits[:, j] - 1)
                twos += (values * sign).mean(1).sum()
            assert float(joint[pair, subset]) == pytest.approx(twos, abs=1e-9)


@pytest.mark.parametrize("k", [2, 4, 6])
def test_the_partition_is_the_best_of_all(k: int) -> None:
    """Its sum is that of brute force; and the groups together explain the sum of their shares."""
    explained, _ = closed_indices(tables(k), torch.ones(2, k, dtype=torch.bool))
    score = explained - 0.02 * (2.0 ** all_coalitions(k).sum(1) - 1)
    for pair, found in enumerate(best_partition(explained, 0.02)):
        ways = [[index_of(group, k) for group in way] for way in partitions(list(range(k)))]
        best = max(sum(float(score[pair, one]) for one in way) for way in ways)
        assert sum(float(score[pair, one]) for one in found) == pytest.approx(best, abs=k * 1e-5)
        assert sum(found) == np.bitwise_or.reduce(found, initial=0), "groups overlap"
        assert found == sorted(found, key=lambda one: -float(explained[pair, one]))

        bits = all_coalitions(k).numpy()
        cells = [bits[:, bits[one]] @ 2 ** np.arange(bits[one].sum()) for one in found]
        units = [cell == value for cell in cells for value in np.unique(cell)]
        design = np.column_stack([np.ones(2**k), *units]).astype(float)
        values = tables(k)[pair].numpy().T
        left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        r2 = 1 - left.var(0).sum() / values.var(0).sum()
        assert r2 == pytest.approx(sum(float(explained[pair, one]) for one in found), abs=1e-9)


def test_of_ways_that_are_alike_fewer_and_smaller_groups_are_taken() -> None:
    explained = torch.zeros(1, 8, dtype=torch.float64)
    assert best_partition(explained, 0.0) == [[]]
    explained[0, [0b110, 0b111]] = 1.0
    assert best_partition(explained, 0.0) == [[0b110]]


def test_a_slot_without_a_word_is_in_no_group() -> None:
    """The same table with a slot that changes nothing has the same groups."""
    small = tables(3, pairs=1)
    wide = small.repeat_interleave(2, dim=2)  # the last bit changes nothing
    used = torch.tensor([[True, True, True, False]])
    explained, joint = closed_indices(wide, used)
    alone, alike = closed_indices(small, used[:, :3])
    torch.testing.assert_close(explained[:, ::2], alone)
    assert not explained[:, 1::2].any()
    torch.testing.assert_close(joint[:, ::2], alike)
    found = best_partition(explained, 0.02)[0]
    assert [one // 2 for one in found] == best_partition(alone, 0.02)[0]


@pytest.mark.parametrize("k", [3, 4])
def test_stability_is_the_mean_overlap_with_what_is_found_in_halves_of_the_tables(k: int) -> None:
    both, used = tables(k, pairs=3), torch.ones(3, k, dtype=torch.bool)
    method = JointGroups(k=k, price=0.02)
    found = best_partition(closed_indices(both, used)[0], 0.02)
    stable = method._stability(both, used, found)
    bits = all_coalitions(k)
    for pair in range(3):
        for group, share in zip(found[pair], stable[pair], strict=True):
            outside = [j for j in range(k) if not bits[group, j]]
            again = 0.0
            for j in outside:
                rest = [i for i in range(k) if i != j]
                members = {i for i in range(k) if bits[group, i]}
                for state in (False, True):
                    half = both[pair : pair + 1, :, bits[:, j] == state]
                    parts = best_partition(closed_indices(half, used[:1, 1:])[0], 0.02)[0]
                    small = all_coalitions(k - 1)
                    sets = [{rest[i] for i in range(k - 1) if small[p, i]} for p in parts]
                    again += max((len(members & s) / len(members | s) for s in sets), default=0)
            assert share == pytest.approx(again / (2 * len(outside)) if outside else 1.0)


def groups_of(model: Callable[..., Any], **settings: Any) -> dict[tuple[str, ...], str | None]:
    return {g.words: g.kind for g in explained_by(model, **settings).word_groups}


def explained_by(
    model: Callable[..., Any], texts: tuple[str, str] = (ONE, TWO), **settings: Any
) -> Explanation:
    def answer(pairs: list[tuple[str, str]]) -> list[float]:
        return [float(model(set(f"{a} {b}".split()))) for a, b in pairs]

    return PairExplainer(answer, method="joint_groups", threshold=0.5, **settings)(*texts)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda w: {"dog", "cat"} <= w, {("dog", "cat"): "together"}),
        (lambda w: {"dog", "runs", "cat"} <= w, {("dog", "runs", "cat"): "together"}),
        (lambda w: bool({"dog", "sleeps"} & w), {("dog", "sleeps"): "substitutes"}),
        (lambda w: "dog" in w, {("dog",): ""}),
        (lambda w: 2 * ("dog" in w) + ("cat" in w), {("dog",): "", ("cat",): ""}),
        (
            lambda w: 2 * ({"dog", "cat"} <= w) + bool({"runs", "sleeps"} & w),
            {("dog", "cat"): "together", ("runs", "sleeps"): "substitutes"},
        ),
        (lambda w: {"dog", "cat"} <= w and "not" not in w, {("dog", "cat"): "together"}),
        (lambda w: 1.0, {}),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_groups_are_found_exactly(
    model: Callable[..., Any], expected: dict[tuple[str, ...], str], seed: int
) -> None:
    assert groups_of(model, seed=seed) == expected


def test_stability_is_that_of_the_pair_alone_in_any_batch() -> None:
    def both(pairs: list[tuple[str, str]]) -> list[float]:
        return [float("p" in a.split() and "q" in b.split()) for a, b in pairs]

    explain = PairExplainer(both, threshold=0.5)
    pairs = [("x p", "q"), ("x p r y z u v w", "q z w k l m")]
    for found, pair in zip(explain.many(pairs), pairs, strict=True):
        alone = explain(*pair)
        assert [g.stability for g in found.word_groups] == [g.stability for g in alone.word_groups]
        assert [g.stability for g in found.word_groups] == [1.0]


def test_kinds_are_the_same_of_words_that_speak_against_what_is_explained() -> None:
    texts = ("the dog runs", "a cat sleeps")
    for model, words, kind in (
        (lambda w: 1.0 - ({"dog", "cat"} <= w), ("dog", "cat"), "together"),
        (lambda w: 1.0 - bool({"dog", "sleeps"} & w), ("dog", "sleeps"), "substitutes"),
        (lambda w: {"dog", "cat"} <= w, ("dog", "cat"), "together"),
        (lambda w: bool({"dog", "sleeps"} & w), ("dog", "sleeps"), "substitutes"),
    ):
        assert groups_of(model, texts=texts) == {words: kind}


def test_what_is_told_of_a_group_is_what_the_model_says() -> None:
    found = explained_by(lambda w: 0.1 + 0.6 * ({"dog", "cat"} <= w) + 0.2 * ("here" in w))
    (one, two) = found.word_groups
    assert (one.words, two.words) == (("dog", "cat"), ("here",))
    assert (one.kept_alone, one.removed) == pytest.approx((0.7, 0.3))
    assert (two.kept_alone, two.removed) == pytest.approx((0.3, 0.7))
    assert one.importance + two.importance == pytest.approx(1)
    assert str(one).endswith(
        "(alone 0.700, without 0.300; suffices, is missed; act together; stable 1.00)"
    )
    assert (two.suffices, two.missed, two.kind, two.stability) == (False, False, "", 1.0)
    assert [word for word, _ in found.top(3)] == ["dog", "cat", "here"]


def test_cards_tell_what_speaks_against_and_what_nobody_studied() -> None:
    def model(w: set[str]) -> float:
        return 1 + 0.6 * ({"dog", "cat"} <= w) - 0.2 * ("here" in w)

    found = explained_by(model, ("the dog runs here", "a cat"))
    card = make_card(found, found.labels)
    assert [group.effect.startswith("speaks against") for group in card.groups] == [False, True]
    assert card.proof is not None
    assert [(one.before, one.after) for one in card.proof.sets[:1]] == [
        ("Without any word:", "1.000")
    ]
    found = explained_by(model)
    card = make_card(found, found.labels)
    assert found.groups is not None
    words = [word for side in card.sides for word in side]
    others = [w for w in words if w.position not in found.groups.candidates]
    assert others
    for word in others:
        assert (word.strength, word.top, word.negative) == (0.0, False, False)
        assert word.title.startswith("no candidate: only ranked behind")
    told = "".join(part for part in legend([card]) if isinstance(part, str))
    assert "no candidates are only ranked behind them" in told


def test_no_group_suffices_where_no_word_is_needed() -> None:
    found = explained_by(lambda w: 0.6 + 0.3 * ("dog" in w))
    assert [(g.words, g.suffices, g.missed) for g in found.word_groups] == [
        (("dog",), False, False)
    ]
    found = explained_by(lambda w: 0.4 + 0.3 * ("dog" in w))
    assert [(g.words, g.suffices, g.missed) for g in found.word_groups] == [(("dog",), True, True)]


def test_a_pair_without_groups_is_scored_and_drawn(tmp_path: Path) -> None:
    found = explained_by(lambda w: 1.0)
    assert found.groups is not None
    assert len(found.groups.candidates) == 8
    assert not found.groups.members
    assert found.groups.psi == found.groups.suffices == found.groups.stability == ()
    assert found.word_groups == found.top_group == ()
    example = replace(
        make_example("1", ONE, TWO),
        evidence=(frozenset({1, 6}),),
        alignments=frozenset({(1, 1)}),
    )
    found = replace(found, id="1", words1=example.words1, words2=example.words2)
    results = {}
    for metric in (EvidenceRecovery(), GroupEvidence(), GroupSides(), AlignmentAgreement()):
        metric.update(found, example)
        results[type(metric)] = metric.compute(found.labels)
    assert results[GroupEvidence] is not None
    assert results[GroupEvidence]["value"] == 0
    assert results[EvidenceRecovery] is not None
    assert results[EvidenceRecovery]["top_group"] == 0
    effect = ExplanationMetric(GroupEffect(side="kept", resamples=10))
    valid, scores = torch.ones(1, 3, dtype=torch.bool), torch.tensor([[3.0, 2.0, 1.0]])
    half = torch.full((1, 3), 0.5)
    effect.update(
        lambda keep: half[:, None, :2].expand(-1, keep.shape[1], -1),
        scores,
        valid,
        half[:, :2],
        torch.full((1, 3), -1),
    )
    assert effect.compute()["n"] == 0
    assert found.save(tmp_path / "none.html").exists()
    assert [one.groups for one in rewritten(found, tmp_path)] == [found.groups]


def rewritten(found: Explanation, folder: Path) -> list[Explanation]:
    Explanations([found]).to_parquet(folder / "one.parquet")
    return list(read_explanations(folder / "one.parquet"))


def test_the_search_finds_each_step_what_brute_force_finds(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """One step after another, asked of the model one mask at a time; also within a pool."""
    masked = MaskedModel(classifier, classifier.encoder("word")(examples), "pad", token_budget=512)
    for pool, weight in ((None, 3.0), (3, 1.0)):
        scores = TwoSidedSearch(steps=4, pool=pool, order_weight=weight)(masked).scores
        for row, valid in enumerate(masked.batch.word_valid):
            n = int(valid.sum())

            def gain(chosen: list[int], row: int = row, weight: float = weight) -> float:
                keep = torch.zeros_like(masked.batch.word_valid)
                keep[:, chosen] = True
                both = torch.stack([keep, ~keep], 1) & masked.batch.word_valid[:, None]
                same, share = masked.answers(both).same, (-masked.loss(both)).exp().double()
                return float(same[row, 0] + share[row, 0] - weight * share[row, 1])

            first = sorted(range(n), key=lambda w: -round(gain([w]) / TIE))
            tried, chosen = first[:pool], list[int]()
            for _ in range(min(4, len(tried))):
                left = [w for w in sorted(tried) if w not in chosen]
                gains = [gain([*chosen, w]) for w in left]
                chosen.append(
                    next(w for w, g in zip(left, gains, strict=True) if g >= max(gains) - TIE)
                )
            assert scores[row, :n].argsort(descending=True).tolist()[: len(chosen)] == chosen


def test_the_search_keeps_to_its_budget_and_to_the_pair_alone() -> None:
    """With a budget it stops early, and a pair has the same scores alone and among others."""
    generator = random.Random(0)
    weight = {word: generator.random() for word in f"{ONE} {TWO} more".split()}

    def model(pairs: list[tuple[str, str]]) -> list[float]:
        return [sum(weight.get(w, 0.0) for w in set(f"{a} {b}".split())) for a, b in pairs]

    explain = PairExplainer(model, method="two_sided_search", budget=60)
    pairs = [(ONE, TWO), ("the dog", "a cat"), (f"{ONE} more", TWO)]
    among = explain.many(pairs)
    for pair, found in zip(pairs, among, strict=True):
        assert found.evaluations <= 60
        assert explain(*pair).scores == found.scores
    few = PairExplainer(model, method="two_sided_search", budget=14)  # of 10, 5 and 11 words
    for pair, found in zip(pairs, few.many(pairs), strict=True):
        assert found.evaluations <= 14
        assert few(*pair).scores == found.scores
        assert found.top(1)[0][0] == max(" ".join(pair).split(), key=weight.__getitem__)
    assert among[0].top(1)[0][0] == max(weight, key=lambda w: weight[w] * (w != "more"))
