"""Pairs of a dataset, chosen by their texts."""

from __future__ import annotations

import pytest
from conftest import LABELS, make_example

from gmask_pl.data.selection import OnlyPairs
from gmask_pl.types import PairExample, UserError


class Three:
    labels = LABELS

    def load(self, split: str) -> list[PairExample]:
        texts = (("A man, asleep.", "He wakes!"), ("a man asleep", "he dreams"), ("x", "y"))
        return [make_example(f"{split}-{i}", *pair) for i, pair in enumerate(texts)]

    def failed(self, split: str) -> dict[str, str]:
        return {f"{split}.jsonl:4": "text 1 is empty"}


def test_pairs_are_chosen_by_their_words() -> None:
    source = OnlyPairs(Three(), "test", [["a man asleep .", "he wakes"], ["not", "there"]])
    assert [example.id for example in source.load("test")] == ["test-0"]
    assert len(source.load("train")) == 3
    assert source.labels == LABELS
    assert source.failed("dev") == {"dev.jsonl:4": "text 1 is empty"}


def test_no_pair_at_all_is_a_mistake() -> None:
    with pytest.raises(UserError, match="none of the 1 is in the test split"):
        OnlyPairs(Three(), "test", [["no", "such"]]).load("test")
    with pytest.raises(UserError, match="two texts"):
        OnlyPairs(Three(), "test", [["one"]])
