"""Packing: every row once, within the budget, and with less of it when memory runs out."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.masking.token_packing import START, TokenBudget, TooLong, chunks, start_of
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import ModelInput, PairExample, UserError


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 200))
def test_every_row_is_in_one_chunk_within_the_budget(lengths: list[int], budget: int) -> None:
    found = list(chunks(torch.tensor(lengths), budget))
    assert sorted(torch.cat(found).tolist()) == list(range(len(lengths)))
    for chunk in found:
        longest = max(lengths[row] for row in chunk)
        assert len(chunk) == 1 or len(chunk) * longest <= budget


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=60),
    st.integers(1, 400),
    st.integers(40, 200),
    st.integers(1, 4),
)
def test_what_does_not_fit_is_tried_again_in_halves(
    lengths: list[int], budget: int, memory: int, share: int
) -> None:
    sizes, done = torch.tensor(lengths), Counter[int]()

    def step(chunk: torch.Tensor) -> None:
        if len(chunk) * max(lengths[row] for row in chunk) > memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.update(chunk.tolist())

    own = TokenBudget(budget)
    own.run(sizes, step, share=share)
    assert done == Counter(range(len(lengths)))
    assert own.tokens is not None
    # Halved no further than needed: twice as much would not have fitted.
    assert own.tokens == budget or 2 * (own.tokens + 1) // share > memory // 2


def test_a_row_that_never_fits_and_other_errors_are_told() -> None:
    def fails(chunk: torch.Tensor) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    own = TokenBudget(100)
    with pytest.raises(TooLong, match="one input of 7 tokens") as error:
        own.run(torch.tensor([9, 7, 8]), fails)
    assert error.value.row == 1
    assert own.tokens == 100  # what is too long for any budget does not shrink it

    def breaks(chunk: torch.Tensor) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        TokenBudget(100).run(torch.tensor([7]), breaks)
    with pytest.raises(UserError, match="token_budget=0"):
        TokenBudget(0)


def test_a_budget_starts_with_what_suits_the_device() -> None:
    budget = TokenBudget(None)
    budget.run(torch.tensor([3]), lambda chunk: None)
    assert budget.tokens == START["cpu"]


def test_a_model_that_runs_out_of_memory_answers_alike(
    classifier: PairClassifier, examples: list[PairExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = classifier.encoder("word")(examples)
    generator = torch.Generator().manual_seed(1)
    keep = torch.rand(3, 20, batch.word_valid.shape[1], generator=generator) > 0.5
    plenty = MaskedModel(classifier, batch, "pad", token_budget=4096)
    expected = (plenty.logits(keep), *plenty.loss_gradient(keep))
    forward = type(classifier).forward

    def small(self: PairClassifier, inputs: ModelInput) -> torch.Tensor:
        if inputs.token_ids.numel() > 60:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, inputs)

    monkeypatch.setattr(type(classifier), "forward", small)
    budget = TokenBudget(4096)
    little = MaskedModel(classifier, batch, "pad", token_budget=budget)
    found = (little.logits(keep), *little.loss_gradient(keep))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert budget.tokens is not None
    assert budget.tokens <= 64
    assert torch.equal(little.evaluations, plenty.evaluations)


def test_a_device_that_was_never_tried_is_refused() -> None:
    with pytest.raises(UserError, match="nothing is explained on mps"):
        start_of("mps")
