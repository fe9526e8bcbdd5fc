"""Planted pairs: the same every time, balanced, and decided by their evidence on both sides."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest

from gmask_pl.data.lexicon import LABELS, PATHS, relation
from gmask_pl.data.planted import Planted, capacity
from gmask_pl.types import PairExample, UserError

SLOT_OF = {word: slot for slot, words in PATHS.items() for word in words}


def planted(**changes: Any) -> Planted:
    settings = {"name": "planted", "path": None, "seed": 0}
    sizes = {"train_size": 3000, "dev_size": 300, "test_size": 600}
    return Planted(**settings | sizes | changes)


@pytest.fixture(scope="module")
def source() -> Planted:
    return planted()


def deciding_words(example: PairExample) -> list[tuple[str, str]]:
    """The words of each evidence group on side one and on side two."""
    n, words = len(example.words1), example.words1 + example.words2
    pairs = []
    for group in example.evidence:
        (first,) = [words[i] for i in group if i < n]
        (second,) = [words[i] for i in group if i >= n]
        pairs.append((first, second))
    return pairs


def test_the_same_pairs_every_time_whatever_the_size_of_train(source: Planted) -> None:
    again = planted(train_size=10)
    assert again.load("test") == source.load("test")
    assert again.load("train") == source.load("train")[:10]
    assert planted(test_size=600).load("dev") == source.load("dev")


def test_splits_are_disjoint_balanced_and_varied(source: Planted) -> None:
    pairs = [e for split in ("train", "dev", "test") for e in source.load(split)]
    assert len({(e.text1, e.text2) for e in pairs}) == len(pairs) == 3900
    for split in ("train", "dev", "test"):
        counts = Counter(e.label for e in source.load(split))
        assert max(counts.values()) - min(counts.values()) <= 1
    assert len({w for e in pairs for w in e.words1 + e.words2}) > 200
    assert capacity() > 20_000


def test_the_label_follows_from_the_evidence(source: Planted) -> None:
    """Re-derived from the relation of the words: the highest label of all slots that differ."""
    two_groups = 0
    for example in source.load("train"):
        words1, words2 = set(example.words1), set(example.words2)
        relations = {
            relation(a, b, SLOT_OF[a])
            for a in words1 - words2
            for b in words2 - words1
            if SLOT_OF.get(a) == SLOT_OF.get(b) is not None
        } - {None}
        assert max(relations) == example.label  # type: ignore[type-var]
        for first, second in deciding_words(example):
            assert relation(first, second, SLOT_OF[first]) == example.label
        two_groups += len(example.evidence) > 1
    assert two_groups > 50


@pytest.mark.parametrize("side", [0, 1])
def test_no_side_tells_the_label(side: int) -> None:
    """Even who knows the deciding words of one side is right in less than 60 % of the pairs."""
    source = planted(train_size=12_000)
    labels: dict[tuple[str, ...], Counter[int | None]] = defaultdict(Counter)
    for example in source.load("train"):
        labels[tuple(sorted(pair[side] for pair in deciding_words(example)))][example.label] += 1
    right = sum(
        labels[key].most_common(1)[0][0] == e.label
        for e in source.load("test")
        if (key := tuple(sorted(pair[side] for pair in deciding_words(e)))) in labels
    )
    assert right / len(source.load("test")) < 0.6


def test_relations_by_hand() -> None:
    entailment, neutral, contradiction = range(len(LABELS))
    assert relation("car", "automobile", "THING") == entailment
    assert relation("poodle", "hound", "ANIMAL") == entailment
    assert relation("dog", "poodle", "ANIMAL") == neutral
    assert relation("happy", "rich", "TRAIT") == neutral
    assert relation("happy", "gloomy", "TRAIT") == contradiction
    assert relation("poodle", "cat", "ANIMAL") == contradiction
    assert relation("car", "car", "THING") is None
    assert relation("car", "sofa", "THING") is None


@pytest.mark.parametrize("sizes", [{"dev_size": 0}, {"train_size": 10**12}])
def test_impossible_sizes(sizes: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(sizes))):
        planted(**sizes)


def test_unknown_split(source: Planted) -> None:
    with pytest.raises(UserError, match="valid"):
        source.load("valid")


def test_a_path_is_refused() -> None:
    with pytest.raises(UserError, match="made, not read"):
        planted(path="somewhere")
