"""Shapley values and interactions of coalition tables: definitions, axioms, a reference package."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import explainer_of
from torch import Tensor

from gmask_pl.explainers._coalition import (
    all_coalitions,
    choose_candidates,
    coalition_index,
    value_table,
)
from gmask_pl.explainers.interaction import interaction_index
from gmask_pl.explainers.shapley import shapley_values
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import PairExample, UserError


def random_table(k: int, pairs: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(k)
    return torch.rand(pairs, 2**k, generator=generator, dtype=torch.float64)


def entry(table: Tensor, words: set[int]) -> Tensor:
    """v(S) (B,) of a table over its k words."""
    k = table.shape[1].bit_length() - 1
    bits = torch.zeros(k, dtype=torch.bool)
    bits[list(words)] = True
    return table[:, int(coalition_index(bits))]


def by_permutations(table: Tensor, k: int) -> Tensor:
    """The mean gain of a word over all orders in which the words can arrive."""
    values = torch.zeros(len(table), k, dtype=table.dtype)
    for order in itertools.permutations(range(k)):
        for place, word in enumerate(order):
            gain = entry(table, set(order[: place + 1])) - entry(table, set(order[:place]))
            values[:, word] += gain / math.factorial(k)
    return values


def interaction_by_definition(table: Tensor, k: int, i: int, j: int) -> Tensor:
    """Grabisch and Roubens' sum over the coalitions of the other words."""
    found = torch.zeros(len(table), dtype=table.dtype)
    others = [word for word in range(k) if word not in (i, j)]
    for size in range(len(others) + 1):
        weight = math.factorial(size) * math.factorial(k - size - 2) / math.factorial(k - 1)
        for chosen in itertools.combinations(others, size):
            s = set(chosen)
            joint = entry(table, s | {i, j}) - entry(table, s | {i}) - entry(table, s | {j})
            found += weight * (joint + entry(table, s))
    return found


@pytest.mark.parametrize("k", [1, 2, 5])
def test_shapley_values_are_the_mean_gain_over_permutations(k: int) -> None:
    table = random_table(k)
    torch.testing.assert_close(shapley_values(table), by_permutations(table, k))


@pytest.mark.slow
def test_shapley_values_equal_those_of_the_shap_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """shap's exact explainer on the same function of kept words, removal being the masker."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # compiling takes far longer than running
    from shap.explainers import Exact

    k = 6
    table = random_table(k, pairs=1)

    def model(kept: np.ndarray) -> np.ndarray:
        return table[0, coalition_index(torch.from_numpy(kept > 0.5))].numpy()

    found = Exact(model, np.zeros((1, k)))(np.ones((1, k))).values
    np.testing.assert_allclose(shapley_values(table).numpy(), found, atol=1e-7)


def test_shapley_axioms() -> None:
    """Efficiency; symmetry of words 0 and 3; word 2 is a dummy worth a quarter."""
    bits = all_coalitions(5)
    base = random_table(6, pairs=1)[0]
    pair, other = bits[:, 0].long() + bits[:, 3].long(), bits[:, 1].long() + 2 * bits[:, 4].long()
    table = (base[pair * 4 + other] + 0.25 * bits[:, 2])[None]
    values = shapley_values(table)[0]
    assert float(values.sum()) == pytest.approx(float(table[0, -1] - table[0, 0]))
    assert float(values[0]) == pytest.approx(float(values[3]))
    assert float(values[2]) == pytest.approx(0.25)


@pytest.mark.parametrize("function", [shapley_values, interaction_index])
def test_a_slot_without_a_word_gets_nothing_and_changes_nothing(
    function: Callable[[Tensor], Tensor],
) -> None:
    table = random_table(4)
    with_slot = table.repeat_interleave(2, dim=1)  # the last bit makes no difference
    expected = torch.zeros_like(function(with_slot))
    expected[(..., *[slice(0, 4)] * (expected.dim() - 1))] = function(table)
    torch.testing.assert_close(function(with_slot), expected)
    assert float(function(with_slot)[..., 4].abs().max()) == 0.0


@pytest.mark.parametrize("k", [2, 3, 6])
def test_interactions_are_the_definition_for_every_pair(k: int) -> None:
    table = random_table(k)
    found = interaction_index(table)
    for i, j in itertools.permutations(range(k), 2):
        torch.testing.assert_close(found[:, i, j], interaction_by_definition(table, k, i, j))
    assert float(found.diagonal(dim1=1, dim2=2).abs().max()) == 0.0


def test_an_interaction_is_how_a_word_changes_the_share_of_another() -> None:
    """I_ij = the Shapley value of j where i is always kept, less that where i never is."""
    table = random_table(5)
    without, with_word = table.chunk(2, dim=1)  # word 0 is the first bit
    expected = shapley_values(with_word) - shapley_values(without)
    torch.testing.assert_close(interaction_index(table)[:, 0, 1:], expected)


def test_in_a_planted_and_only_the_planted_pair_interacts() -> None:
    bits = all_coalitions(8)
    p = torch.where(bits[:, 2] & bits[:, 5], 0.95, 0.05).double() + 0.01 * bits[:, 7]
    found = interaction_index(p[None])[0]
    expected = torch.zeros(8, 8, dtype=torch.float64)
    expected[2, 5] = expected[5, 2] = 0.9
    torch.testing.assert_close(found, expected)


def asked(
    name: str, classifier: PairClassifier, examples: list[PairExample], context: str, k: int
) -> tuple[MaskedModel, Tensor, Tensor, Tensor]:
    """The explainer's scores, its filter's, the candidates and the table it must have read."""
    settings = (f"explainer.context={context}", f"explainer.k={k}", "explainer.removal=pad")
    explainer = explainer_of(name, "explainer@explainer.word_filter=random", *settings)
    masked = MaskedModel(classifier, classifier.encoder("word")(examples), "pad", token_budget=512)
    scores = explainer(masked).scores
    filtered = explainer.word_filter(masked).scores
    candidates = choose_candidates(filtered, masked.batch, k)
    table = value_table(masked, candidates, context=context, value="probability")
    return masked, scores, filtered, table


@pytest.mark.parametrize("context", ["drop", "keep"])
def test_the_candidates_share_out_what_they_are_worth(
    context: str, classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """Also in pairs of fewer than k words; the rest follow below, in the filter's order."""
    masked, scores, filtered, table = asked("shapley", classifier, examples, context, 6)
    candidates = choose_candidates(filtered, masked.batch, 6)
    for row in range(len(examples)):
        words = [word for word in candidates[row].tolist() if word >= 0]
        assert float(scores[row, words].sum()) == pytest.approx(
            float(table[row, -1] - table[row, 0]), abs=1e-5
        )
        rest = masked.batch.word_valid[row].nonzero().flatten().tolist()
        rest = [word for word in rest if word not in words]
        if rest:
            assert float(scores[row, rest].max()) < float(scores[row, words].min())
            by_score = sorted(rest, key=lambda w, row=row: -float(scores[row, w]))
            assert by_score == sorted(rest, key=lambda w, row=row: -float(filtered[row, w]))


def test_one_kept_word_is_worth_the_probability_it_brings(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """The table is asked of the model: v(all) is p(y|x) where all other words are kept."""
    masked, _, _, table = asked("shapley", classifier, examples, "keep", 4)
    p = masked.probabilities.gather(1, masked.prediction[:, None])[:, 0]
    torch.testing.assert_close(table[:, -1].float(), p, atol=1e-5, rtol=0)
    log = value_table(
        masked,
        choose_candidates(masked.batch.word_valid.float(), masked.batch, 4),
        context="keep",
        value="log_probability",
    )
    torch.testing.assert_close(log[:, -1].exp().float(), p, atol=1e-5, rtol=0)


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(Exception, match="most") as caught:
        explainer_of("interaction", "explainer.part=most")
    assert isinstance(caught.value.__cause__, UserError)


@pytest.mark.parametrize("name", ["shapley", "interaction"])
@pytest.mark.parametrize("override", ["value=odds", "context=some", "k=17", "k=1"])
def test_settings_that_no_table_can_have(name: str, override: str) -> None:
    with pytest.raises(Exception, match=override) as caught:
        explainer_of(name, f"explainer.{override}")
    assert isinstance(caught.value.__cause__, UserError)


@pytest.mark.parametrize(("k", "part"), [(4, "absolute"), (6, "signed"), (6, "positive")])
def test_interactions_of_every_pair_across_the_sides_are_kept(
    k: int, part: str, classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """And a word's score adds up those with words of the other side."""
    masked = MaskedModel(classifier, classifier.encoder("word")(examples), "pad", token_budget=512)
    settings = (f"explainer.k={k}", f"explainer.part={part}")
    explainer = explainer_of("interaction", "explainer@explainer.word_filter=random", *settings)
    found = explainer(masked)
    candidates = choose_candidates(explainer.word_filter(masked).scores, masked.batch, k)
    for row, interactions in enumerate(found.interactions):
        side = masked.batch.word_side[row].tolist()
        words = [word for word in candidates[row].tolist() if word >= 0]
        one, two = ([word for word in words if side[word] == s] for s in (0, 1))
        assert set(interactions.pairs) == set(itertools.product(one, two))
        assert list(interactions.values) == sorted(interactions.values, reverse=True)
        for word in words:
            values = zip(interactions.pairs, interactions.values, strict=True)
            own = [value for pair, value in values if word in pair]
            expected = {
                "positive": sum(max(value, 0) for value in own),
                "absolute": sum(map(abs, own)),
                "signed": sum(own),
            }
            assert float(found.scores[row, word]) == pytest.approx(expected[part], abs=1e-6)
