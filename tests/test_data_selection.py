"""Pairs of a dataset, chosen by their texts."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import LABELS, make_example
from omegaconf import OmegaConf

from gmask_pl.data.in_memory import OnlyPairs
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
    wrong: list[tuple[Any, str]] = [
        ([["one"]], r"pair 1: \['one'\] has 1 parts: give a list of pairs of strings"),
        ([["a", "b"], [2020, "b"]], r"pair 2: text 1 is 2020 \(int\): give"),
        ([["a", "b"], [None, "b"]], "pair 2: text 1 is null"),
        (["a", "b"], r"pairs: \['a', 'b'\] is one pair by itself"),
    ]
    for pairs, why in wrong:
        with pytest.raises(UserError, match=why):
            OnlyPairs(Three(), "test", OmegaConf.create(pairs))
