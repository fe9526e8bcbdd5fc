"""Scores read from tables: Owen values, and the order that is best on both sides."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from conftest import explainer_of
from torch import Tensor

from gmask_pl.explainers._coalition import (
    all_coalitions,
    choose_candidates,
    coalition_index,
)
from gmask_pl.explainers._readout import (
    best_order,
    in_order,
    missed_order,
    owen_values,
    two_sided_order,
)
from gmask_pl.explainers.gmask import ResponseTables
from gmask_pl.explainers.shapley import shapley_values
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import PairExample, UserError


def random_table(k: int, pairs: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(k)
    return torch.rand(pairs, 2**k, generator=generator, dtype=torch.float64)


def index_of(words: tuple[int, ...], k: int) -> int:
    bits = torch.zeros(k, dtype=torch.bool)
    bits[list(words)] = True
    return int(coalition_index(bits))


def owen_by_permutations(table: Tensor, groups: list[int]) -> Tensor:
    """The mean gain over all orders of arrival in which the words of a group stand together."""
    k = len(groups)
    orders = [
        order
        for order in itertools.permutations(range(k))
        if len(list(itertools.groupby(order, key=lambda w: groups[w]))) == len(set(groups))
    ]
    values = torch.zeros(len(table), k, dtype=table.dtype)
    for order in orders:
        for place, word in enumerate(order):
            after, before = index_of(order[: place + 1], k), index_of(order[:place], k)
            values[:, word] += (table[:, after] - table[:, before]) / len(orders)
    return values


@pytest.mark.parametrize("groups", [[0, 1, 0, 2, 1], [3, 3, 0, 3, 0], [0, 1, 2, 3, 4], [2] * 5])
def test_owen_values_are_the_mean_gain_over_orders_that_keep_groups_together(
    groups: list[int],
) -> None:
    table = random_table(5)
    found = owen_values(table, torch.tensor([groups, groups]))
    torch.testing.assert_close(found, owen_by_permutations(table, groups))


def test_pairs_of_a_batch_have_groups_of_their_own() -> None:
    table, groups = random_table(4), [[0, 1, 0, 1], [2, 2, 2, 0]]
    found = owen_values(table, torch.tensor(groups))
    for row, own in enumerate(groups):
        expected = owen_by_permutations(table[row : row + 1], own)
        torch.testing.assert_close(found[row : row + 1], expected)


def test_owen_values_of_no_real_groups_are_shapley_values() -> None:
    table = random_table(6)
    for groups in (torch.arange(6).repeat(2, 1), torch.zeros(2, 6, dtype=torch.int64)):
        torch.testing.assert_close(owen_values(table, groups), shapley_values(table))


def test_a_slot_without_a_word_changes_no_owen_value() -> None:
    table = random_table(4)
    with_slot = table.repeat_interleave(2, dim=1)
    groups = torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0]])
    for group in (0, 1, 2):
        padded = torch.cat([groups, torch.full((2, 1), group)], 1)
        found = owen_values(with_slot, padded)
        # In a group of its own it is one more group that brings nothing.
        torch.testing.assert_close(found[:, :4], owen_values(table, groups))
        assert float(found[:, 4].abs().max()) == 0.0


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_best_order_is_the_best_of_all(k: int) -> None:
    worth = random_table(k)
    orders = best_order(worth, torch.ones(2, k, dtype=torch.bool))

    def total(row: int, order: tuple[int, ...]) -> float:
        return sum(float(worth[row, index_of(order[: u + 1], k)]) for u in range(k))

    for row, order in enumerate(orders.tolist()):
        best = max(total(row, candidate) for candidate in itertools.permutations(range(k)))
        assert total(row, tuple(order)) == pytest.approx(best)


def test_slots_without_a_word_come_last_however_good_it_is_to_stand_still() -> None:
    """Word 0 alone is worth 1, any further word spoils it; slots 2 and 3 are no words."""
    bits = all_coalitions(4)
    worth = (bits[:, 0] & ~bits[:, 1]).double()[None]
    order = best_order(worth, torch.tensor([[True, True, False, False]]))
    assert order.tolist() == [[0, 1, 2, 3]]


def test_values_are_dealt_out_by_rank() -> None:
    order = torch.tensor([[2, 0, 1, 3]])
    values = torch.tensor([[0.1, 0.5, -0.2, 9.0]])
    used = torch.tensor([[True, True, True, False]])
    expected = torch.tensor([[0.1, -0.2, 0.5, 9.0]])
    torch.testing.assert_close(in_order(order, values, used), expected)


def test_equal_values_keep_the_order_that_was_found() -> None:
    """Words 0 and 1 are alike, and each is worth most where it stands beside the other."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        worth = torch.rand(1, 16, generator=generator).double()
        # The sets that differ by the exchange of words 0 and 1 are worth the same.
        worth = (worth.view(1, 2, 2, 4) + worth.view(1, 2, 2, 4).transpose(1, 2)).view(1, 16)
        used = torch.ones(1, 4, dtype=torch.bool)
        order = best_order(worth, used)
        scores = in_order(order, shapley_values(worth), used)
        assert torch.equal(scores.argsort(dim=1, descending=True, stable=True), order)


def test_the_best_order_does_not_hang_on_rounding() -> None:
    """Four words that are alike, and answers that differ as those of two batches do."""
    generator = torch.Generator().manual_seed(0)
    worth = all_coalitions(4).sum(1).double()[None] / 4
    used = torch.ones(1, 4, dtype=torch.bool)
    exact = best_order(worth, used)
    for _ in range(20):
        noise = 1e-7 * torch.randn(1, 16, generator=generator).double()
        assert torch.equal(best_order(worth + noise, used), exact)


def test_two_sides_find_the_word_that_one_side_cannot() -> None:
    """Word 0 and word 1 each suffice, so neither is missed alone; word 2 does nothing."""
    bits = all_coalitions(3)
    either = (bits[:, 0] | bits[:, 1]).double()[None]
    removed = 0.9 * either.flip(1)  # p without S: what is left of the words says
    used = torch.ones(1, 3, dtype=torch.bool)
    kept = 0.9 * either
    worth = (kept + removed.flip(1)) / 2
    scores = two_sided_order(worth, kept, either > 0.5, removed, used, removed_weight=1.0)
    assert scores.argmin(1).tolist() == [2]
    assert float(scores.sum()) == pytest.approx(0.9)


def test_the_two_sided_order_is_the_best_of_all() -> None:
    """Against all orders, where each of its three parts is what the order hangs on."""
    kept, removed = torch.rand(2, 5, 16, generator=torch.Generator().manual_seed(0)).double()
    decided, used = kept.flip(1) > 0.5, torch.ones(5, 4, dtype=torch.bool)
    found = []
    for weight, held in ((0.0, decided), (3.0, decided), (0.0, torch.zeros_like(decided))):
        worth = (kept + removed.flip(1)) / 2
        scores = two_sided_order(worth, kept, held, removed, used, removed_weight=weight)
        found.append(scores.argsort(dim=1, descending=True).tolist())
        for row, order in enumerate(found[-1]):
            sums = {
                o: sum(
                    float(held[row, s] + kept[row, s] - weight * removed[row, s])
                    for s in (sum(8 >> w for w in o[:u]) for u in range(1, 5))
                )
                for o in itertools.permutations(range(4))
            }
            assert sums[tuple(order)] == pytest.approx(max(sums.values()))
    assert found[0] != found[1]
    assert found[0] != found[2]


def test_the_two_tables_are_asked_for_once(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """Whether a subset decides is read from the answer that tells its probability."""
    masked = MaskedModel(classifier, classifier.encoder("word")(examples), "pad", token_budget=512)
    candidates = torch.tensor([[0, 1, 2]] * len(examples))
    tables = ResponseTables(masked, candidates, "drop")
    before = masked.evaluations.clone()
    assert tables.kept.shape == tables.decided.shape == (len(examples), 8)
    assert (masked.evaluations - before).tolist() == [8] * len(examples)
    keep = torch.zeros_like(masked.batch.word_valid)
    keep[:, 1] = True  # of three bits the middle one, so subset 2
    logits = masked.logits(keep[:, None])[:, 0]
    torch.testing.assert_close(
        tables.kept[:, 2], -logits.log_softmax(-1).gather(1, masked.prediction[:, None])[:, 0]
    )
    assert torch.equal(tables.decided[:, 2], logits.argmax(-1) == masked.prediction)


def test_no_order_is_missed_more_than_the_one_that_is_found() -> None:
    """Against all orders: the sum of p without the first u words, u = 1..k, is the least."""
    kept, removed = torch.rand(2, 5, 16, generator=torch.Generator().manual_seed(0)).double()
    worth = (kept + removed.flip(1)) / 2
    scores = missed_order(worth, removed, torch.ones(5, 4, dtype=torch.bool))
    for row, p in zip(scores, removed, strict=True):
        orders = list(itertools.permutations(range(4)))
        left = [sum(float(p[sum(8 >> w for w in o[:u])]) for u in range(1, 5)) for o in orders]
        found = orders.index(tuple(row.argsort(descending=True).tolist()))
        assert left[found] == pytest.approx(min(left))


@pytest.mark.parametrize("readout", ["membership", "owen", "order", "missed"])
def test_two_sided_gmask_scores_all_words_in_any_readout(
    readout: str, classifier: PairClassifier, examples: list[PairExample]
) -> None:
    explainer = explainer_of("gmask_two_sided", f"explainer.readout={readout}", "explainer.k=4")
    assert not explainer.differentiates_masks
    encode = classifier.encoder("word")
    masked = MaskedModel(classifier, encode(examples), explainer.removal, token_budget=512)
    found = explainer(masked)
    assert int(masked.gradients.sum()) == 0
    for row, groups in enumerate(found.groups):
        assert groups is not None
        assert bool(found.scores[row, list(groups.candidates)].abs().sum() > 0)
        alone = MaskedModel(
            classifier, encode(examples[row : row + 1]), explainer.removal, token_budget=512
        )
        n = int(masked.batch.word_valid[row].sum())
        torch.testing.assert_close(
            explainer(alone).scores[0, :n], found.scores[row, :n], atol=1e-4, rtol=1e-4
        )


def test_the_two_sides_cost_two_tables(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """Beside the filter and the whole text: 2^k subsets alone, 2^k - 1 texts without a subset."""
    for name, tables in (("gmask", 1), ("gmask_two_sided", 2)):
        explainer = explainer_of(name, "explainer@explainer.word_filter=random", "explainer.k=3")
        masked = MaskedModel(
            classifier, classifier.encoder("word")(examples), explainer.removal, token_budget=512
        )
        explainer(masked)
        longest = int(masked.batch.word_valid.sum(1).argmax())
        evaluations = int(masked.evaluations[longest])
        assert 8 * tables <= evaluations <= 8 * tables + 1


@pytest.mark.parametrize("value", ["log_probability", "probability"])
def test_the_objective_of_both_sides_by_hand(value: str) -> None:
    """-log p(group) or -p(group), + weight * p(text without it), over the groups' masks."""
    settings = ("explainer.removed_weight=2.0", f"explainer.value={value}")
    explainer = explainer_of("gmask_two_sided", *settings)
    kept, removed = random_table(3, 1).float(), random_table(3, 2)[:1].float()

    class Told:
        candidates = torch.tensor([[0, 1, 2]])

    Told.kept, Told.removed = kept, removed  # type: ignore[attr-defined]
    loss = explainer.expected_loss(Told, None, [])
    phi = torch.tensor([[[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]]])
    psi = torch.tensor([[0.6, 0.4]])
    expected = 0.0
    for group, row in itertools.product(range(2), range(8)):
        weight = float(psi[0, group])
        for j in range(3):
            p = float(phi[0, j, group])
            weight *= p if row >> (2 - j) & 1 else 1 - p
        alone = float(kept[0, row])
        alone = alone if value == "log_probability" else -math.exp(-alone)
        expected += weight * (alone + 2.0 * float(removed[0, row]))
    assert float(loss(phi.log(), psi.log())) == pytest.approx(expected, rel=1e-5)


def test_slopes_of_the_removed_side_are_how_p_changes_as_a_word_is_put_back(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    batch = classifier.encoder("word")(examples[:1])
    masked = MaskedModel(classifier, batch, "zero", token_budget=512)
    candidates = torch.tensor([[5, 1, 9]])
    subsets = torch.tensor([[[True, False, False], [False, True, True]]])
    p, slope = ResponseTables(masked, candidates, "drop").removed_gradient(subsets, distinct=True)
    step = 1e-2
    for row, bits in enumerate(subsets[0]):
        for slot, word in enumerate(candidates[0].tolist()):
            sides = []
            for change in (-step, step):
                keep = batch.word_valid.float()[:, None].clone()
                keep[0, 0, candidates[0][bits]] = 0.0
                keep[0, 0, word] -= change  # a bit removes
                sides.append(float((-masked.loss_gradient(keep)[0]).exp()))
            expected = (sides[1] - sides[0]) / (2 * step)
            assert float(slope[0, row, slot]) == pytest.approx(expected, abs=1e-3, rel=2e-2)
    without = batch.word_valid[:, None].clone()
    without[0, 0, 5] = False
    torch.testing.assert_close(p[:, :1], (-masked.loss(without)).exp())


@pytest.mark.parametrize("estimator", ["straight_through", "sampled"])
def test_both_sides_can_be_sampled(
    estimator: str, classifier: PairClassifier, examples: list[PairExample]
) -> None:
    settings = ("explainer.k=3", "explainer.sampling.samples=5", "explainer.fit.epochs=2")
    explainer = explainer_of("gmask_two_sided", f"explainer.estimator={estimator}", *settings)
    assert explainer.differentiates_masks
    encode = classifier.encoder("word")
    masked = MaskedModel(classifier, encode(examples), explainer.removal, token_budget=512)
    assert bool(explainer(masked).scores.isfinite().all())
    assert int(masked.gradients.min()) > 0


def test_candidates_stand_in_the_order_of_the_text(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    """So that equal scores of the filter, told apart by rounding, change nothing."""
    batch = classifier.encoder("word")(examples)
    width = batch.word_valid.shape[1]
    scores = torch.rand(3, width, generator=torch.Generator().manual_seed(0)) * batch.word_valid
    for name in ("gmask", "gmask_two_sided"):
        found = explainer_of(name, "explainer.k=6").candidates(scores, batch)
        for row, ranked in zip(found, choose_candidates(scores, batch, 6), strict=True):
            used = [word for word in ranked.tolist() if word >= 0]
            assert row.tolist() == sorted(used) + [-1] * (6 - len(used))
    released = explainer_of("gmask_released", "explainer.k=6").candidates(scores, batch)
    assert torch.equal(released, choose_candidates(scores, batch, 6))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("readout=best", "GMask.readout=best: give one of membership"),
        ("removed_weight=-1", "removed_weight=-1: give a number from 0"),
        ("order_weight=-1", "order_weight=-1: give a number from 0"),
        ("value=odds", "GMask.value=odds: give one of"),
        ("t=1", "one group ranks nothing"),
        ("t=11", "t=11: 10 words .k=10. form no more than 10 groups"),
        ("k=17", "a coalition table of k=17 words"),
        ("fit.epochs=0", "epochs=0: give a whole number from 1"),
        ("sampling.samples=0", "samples=0: give a whole number from 1"),
        ("fit.patience=0", "patience=0: give a whole number from 1"),
    ],
)
def test_settings_that_cannot_be(setting: str, message: str) -> None:
    from hydra.errors import InstantiationException

    with pytest.raises((UserError, InstantiationException), match=message):
        explainer_of("gmask_two_sided", f"explainer.{setting}")
