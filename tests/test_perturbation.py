"""LIME, the paired ridge, Kernel SHAP, occlusion: against reference packages and known words.

Tests within sampling error use one model whose weights are the same in every run: the word
pieces of the other are not.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import shap
import torch
from captum.attr import FeatureAblation
from conftest import explainer_of
from lime.lime_base import LimeBase
from lime.lime_text import LimeTextExplainer
from sklearn.metrics import pairwise_distances
from test_imask import Both

from gmask_pl.explainers._coalition import all_coalitions
from gmask_pl.explainers.explainer import example_generators
from gmask_pl.explainers.kernel_shap import KernelShap, coalitions, efficient_regression
from gmask_pl.explainers.lime import Lime, perturbations, proximity, random_subsets, ridge
from gmask_pl.explainers.occlusion import Occlusion
from gmask_pl.explainers.paired_ridge import PairedRidge, paired_perturbations
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import ModelInput, PairExample, UserError

LIME = {"removal": "pad", "samples": 5000, "kernel_width": 25.0, "alpha": 1.0, "seed": 0}
PAIRED = {
    "removal": "pad",
    "samples_per_word": 12,
    "kernel_width": 50.0,
    "alpha": 1.0,
    "seed": 0,
}
LEAVE_OUT: dict[str, Any] = {"context": "keep", "rounds": 1, "per_round": 1}
SHAP = {"removal": "pad", "samples": 2048, "value": "probability", "seed": 0}


def bound(model: PairClassifier, examples: list[PairExample], removal: str = "pad") -> MaskedModel:
    return MaskedModel(model, model.encoder("word")(examples), removal, token_budget=4096)


def probability(masked: MaskedModel, keep: np.ndarray) -> np.ndarray:
    """p(prediction | kept words) of the one pair of ``masked``, for masks (S, W)."""
    asked = torch.tensor(np.atleast_2d(keep) > 0.5)
    return (-masked.loss(asked[None])[0]).exp().double().numpy()


def brute_force_shapley(worth: dict[frozenset[int], float], n: int) -> list[float]:
    """The mean gain of every word over all orders of arrival, as a sum over subsets."""
    values = []
    for word in range(n):
        others = [w for w in range(n) if w != word]
        total = 0.0
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for subset in itertools.combinations(others, size):
                gain = worth[frozenset((*subset, word))] - worth[frozenset(subset)]
                total += weight * gain
        values.append(total)
    return values


def game(masked: MaskedModel, n: int) -> dict[frozenset[int], float]:
    bits = all_coalitions(n)
    p = probability(masked, bits.numpy())
    return {
        frozenset(row.nonzero().flatten().tolist()): float(value)
        for row, value in zip(bits, p, strict=True)
    }


# LIME


def test_random_subsets_are_uniform_among_those_of_their_size() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = random_subsets(4, torch.full((60_000,), 2), generator)
    assert bool((drawn.sum(1) == 2).all())
    _, counts = torch.unique(drawn, dim=0, return_counts=True)
    assert len(counts) == 6
    assert bool(((counts / 10_000 - 1).abs() < 4 * (5 / 6 / 10_000) ** 0.5).all())


def test_lime_removes_a_uniform_number_of_words() -> None:
    rows = perturbations(5, 50_001, torch.Generator().manual_seed(0))
    assert bool(rows[0].all())
    removed = (~rows[1:]).sum(1)
    counts = torch.bincount(removed, minlength=6)
    assert int(counts[0]) == 0
    assert bool(((counts[1:] / 10_000 - 1).abs() < 4 * (0.8 / 10_000) ** 0.5).all())


def test_lime_weights_are_those_of_the_lime_package() -> None:
    rows = perturbations(9, 300, torch.Generator().manual_seed(1))
    rows[1] = False
    data = rows.double().numpy()
    distances = pairwise_distances(data, data[:1], metric="cosine").ravel() * 100
    package = LimeTextExplainer().base.kernel_fn(distances)
    keep = torch.cat([rows, torch.zeros(300, 2, dtype=torch.bool)], 1)[None]
    valid = torch.tensor([[True] * 9 + [False] * 2])
    np.testing.assert_allclose(proximity(keep, valid, 25.0)[0], package, rtol=1e-9, atol=1e-12)


def test_lime_coefficients_are_those_of_the_lime_package(
    responsive: PairClassifier, examples: list[PairExample]
) -> None:
    """Its own regression, given our perturbations of every pair, and the model's answers."""
    found = Lime(**LIME | {"samples": 400})(bound(responsive, examples)).scores
    generators = example_generators(0, responsive.encoder("word")(examples).keys)
    base = LimeBase(LimeTextExplainer().base.kernel_fn)
    for row, example in enumerate(examples):
        masked = bound(responsive, [example])
        n = masked.batch.word_valid.shape[1]
        data = perturbations(n, 400, generators[row]).double().numpy()
        p = probability(masked, data)
        distances = pairwise_distances(data, data[:1], metric="cosine").ravel() * 100
        _, package, _, _ = base.explain_instance_with_data(
            data, p[:, None], distances, 0, n, feature_selection="none"
        )
        expected = [value for _, value in sorted(package)]
        assert max(map(abs, expected)) > 1e-2
        np.testing.assert_allclose(found[row, :n], expected, rtol=0, atol=2e-6)


def test_ridge_is_that_of_scikit_learn_in_a_batch() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(3, 40, 6, generator=generator, dtype=torch.float64)
    y, w = torch.rand(2, 3, 40, generator=generator, dtype=torch.float64)
    from sklearn.linear_model import Ridge

    for row, ours in enumerate(ridge(x, y, w, 0.7)):
        package = Ridge(alpha=0.7).fit(x[row], y[row], sample_weight=w[row]).coef_
        np.testing.assert_allclose(ours, package, rtol=1e-9)


@pytest.mark.parametrize("classifier", ["dattn"], indirect=True)
def test_lime_agrees_with_the_lime_package_on_its_own_draws(
    responsive: PairClassifier, examples: list[PairExample]
) -> None:
    """LimeTextExplainer on the pair's positions as one text, within the error of sampling."""
    masked = bound(responsive, examples[1:2])
    n = masked.batch.word_valid.shape[1]

    def answer(texts: list[str]) -> np.ndarray:
        kept = np.array([[f"w{i}" in text.split() for i in range(n)] for text in texts])
        p = probability(masked, kept)
        return np.stack([1 - p, p], 1)

    explained = LimeTextExplainer(
        bow=False, split_expression=r"\s+", mask_string="_", random_state=0
    ).explain_instance(
        " ".join(f"w{i}" for i in range(n)), answer, num_features=n, num_samples=2000
    )
    package = np.array([value for _, value in sorted(explained.local_exp[1])])
    runs = [Lime(**LIME | {"samples": 2000, "seed": s})(masked).scores[0] for s in range(12)]
    ours = torch.stack(runs).numpy()
    error = ours.std(0, ddof=1) * (1 + 1 / 12) ** 0.5
    assert bool((np.abs(package - ours.mean(0)) < 4.5 * error).all())
    assert np.abs(package).max() > 10 * error.max()


# The paired ridge


@pytest.mark.parametrize("samples", [256, 257])
def test_every_mask_is_followed_by_its_complement(samples: int) -> None:
    rows = paired_perturbations(9, samples, torch.Generator().manual_seed(0))
    assert rows.shape == (samples, 9)
    assert bool(rows[0].all())
    masks, complements = rows[1::2], rows[2::2]
    assert torch.equal(masks[: len(complements)], ~complements)
    assert len(torch.unique((~masks).sum(1))) == 9


def test_the_paired_ridge_is_that_of_scikit_learn_on_its_masks(
    responsive: PairClassifier, examples: list[PairExample]
) -> None:
    from sklearn.linear_model import Ridge

    found = PairedRidge(**PAIRED)(bound(responsive, examples)).scores
    generators = example_generators(0, responsive.encoder("word")(examples).keys)
    for row, example in enumerate(examples):
        masked = bound(responsive, [example])
        n = masked.batch.word_valid.shape[1]
        data = paired_perturbations(n, 12 * n, generators[row]).double().numpy()
        distances = pairwise_distances(data, data[:1], metric="cosine").ravel() * 100
        weights = np.exp(-((distances / 50) ** 2) / 2)
        package = Ridge(alpha=1.0).fit(data, probability(masked, data), weights).coef_
        assert np.abs(package).max() > 1e-2
        np.testing.assert_allclose(found[row, :n], package, rtol=0, atol=2e-6)
        assert not found[row, n:].any()


# Kernel SHAP


@pytest.mark.parametrize("value", ["probability", "log_probability"])
def test_kernel_shap_is_brute_force_shapley_where_all_coalitions_are_asked(
    value: str, responsive: PairClassifier, examples: list[PairExample]
) -> None:
    found = KernelShap(**SHAP | {"value": value})(bound(responsive, examples)).scores
    for row in (1, 2):
        masked = bound(responsive, examples[row : row + 1])
        n = masked.batch.word_valid.shape[1]
        worth = game(masked, n)
        if value == "log_probability":
            worth = {kept: math.log(p) for kept, p in worth.items()}
        np.testing.assert_allclose(found[row, :n], brute_force_shapley(worth, n), rtol=0, atol=2e-6)


def package_shap(masked: MaskedModel, samples: int, seed: int) -> np.ndarray:
    """shap's own answer for the one pair of ``masked``, no words being its background."""
    n = masked.batch.word_valid.shape[1]
    np.random.seed(seed)
    explainer = shap.KernelExplainer(lambda z: probability(masked, z), np.zeros((1, n)))
    found: np.ndarray = explainer.shap_values(
        np.ones((1, n)), nsamples=samples, l1_reg=False, silent=True
    )
    return found[0]


def test_kernel_shap_is_shap_where_all_coalitions_are_asked(
    responsive: PairClassifier, examples: list[PairExample]
) -> None:
    masked = bound(responsive, examples[1:2])
    found = KernelShap(**SHAP)(masked).scores[0]
    np.testing.assert_allclose(found, package_shap(masked, 2048, 0), rtol=0, atol=2e-6)


@pytest.mark.parametrize("classifier", ["dattn"], indirect=True)
@pytest.mark.parametrize("samples", [60, 240])
def test_kernel_shap_is_as_near_to_exact_as_shap_on_a_part_of_the_coalitions(
    samples: int, responsive: PairClassifier, examples: list[PairExample]
) -> None:
    masked = bound(responsive, examples[1:2])
    exact = KernelShap(**SHAP)(masked).scores[0].numpy()
    ours = [
        KernelShap(**SHAP | {"samples": samples, "seed": seed})(masked).scores[0].numpy() - exact
        for seed in range(12)
    ]
    theirs = [package_shap(masked, samples, seed) - exact for seed in range(12)]
    assert 0 < np.square(ours).mean() ** 0.5 < 1.25 * np.square(theirs).mean() ** 0.5


@pytest.mark.parametrize("classifier", ["dattn"], indirect=True)
def test_kernel_shap_is_right_on_average_and_better_with_more_coalitions(
    responsive: PairClassifier, examples: list[PairExample]
) -> None:
    masked = bound(responsive, examples[1:2])
    exact = KernelShap(**SHAP)(masked).scores[0]
    errors = []
    for samples in (60, 240):
        runs = torch.stack(
            [
                KernelShap(**SHAP | {"samples": samples, "seed": s})(masked).scores[0]
                for s in range(20)
            ]
        )
        standard_error = runs.std(0) / 20**0.5
        assert bool(((runs.mean(0) - exact).abs() < 4.5 * standard_error + 1e-6).all())
        errors.append(float((runs - exact).pow(2).mean().sqrt()))
    assert 0 < errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize(
    ("n", "samples"), [(1, 2), (4, 2), (13, 100), (30, 2048), (6, 61), (6, 62)]
)
def test_coalitions_keep_to_the_budget_and_to_the_kernel(n: int, samples: int) -> None:
    sets, weights = coalitions(n, samples, torch.Generator().manual_seed(0))
    sizes = sets.sum(1)
    assert len(sets) == len(weights) <= samples
    assert bool((sizes > 0).all() and (sizes < n).all())
    if n == 1:
        assert len(sets) == 0
        return
    assert float(weights.sum()) == pytest.approx(1.0)
    # Complements come together: kept and removed words mirror one another.
    assert sorted(map(tuple, sets.tolist())) == sorted(map(tuple, (~sets).tolist()))
    if samples >= 2**n - 2:
        assert len(torch.unique(sets, dim=0)) == len(sets) == 2**n - 2
        kernel = 1 / (sizes * (n - sizes) * torch.tensor([math.comb(n, int(s)) for s in sizes]))
        torch.testing.assert_close(weights, (kernel / kernel.sum()).double())
    if (n, samples) == (30, 2048):
        assert sum(int((sizes == s).sum()) for s in (1, 29)) == 60


@pytest.mark.parametrize("samples", [2, 10, 60, 2048])
def test_kernel_shap_scores_add_up(
    samples: int, responsive: PairClassifier, examples: list[PairExample]
) -> None:
    """Efficiency, whatever the budget: to the difference of the whole pair and no words."""
    masked = bound(responsive, examples)
    scores = KernelShap(**SHAP | {"samples": samples})(masked).scores
    none = (-masked.loss(torch.zeros_like(masked.batch.word_valid)[:, None])).exp()[:, 0]
    whole = masked.probabilities.amax(1)
    torch.testing.assert_close(scores.sum(1), (whole - none).double(), atol=1e-6, rtol=0)


def test_what_too_few_coalitions_leave_open_is_shared_equally() -> None:
    """One pair of complements on four words: two words gain 0.8 together, two 0.2."""
    keep = torch.tensor([[[True, True, False, False], [False, False, True, True]]])
    gain, kernel = torch.tensor([[0.8, 0.2]]).double(), torch.ones(1, 2).double()
    valid = torch.ones(1, 4, dtype=torch.bool)
    found = efficient_regression(keep, gain, kernel, torch.tensor([1.0]).double(), valid)
    torch.testing.assert_close(found[0], torch.tensor([0.4, 0.4, 0.1, 0.1]).double())


# Occlusion


@pytest.mark.parametrize("removal", ["zero", "pad", "delete"])
def test_occlusion_is_captums_feature_ablation(
    removal: str, responsive: PairClassifier, examples: list[PairExample]
) -> None:
    explainer = Occlusion(removal=removal, **LEAVE_OUT)
    found = explainer(bound(responsive, examples, removal)).scores
    for row, example in enumerate(examples):
        masked = bound(responsive, [example], removal)
        n = masked.batch.word_valid.shape[1]
        ablation = FeatureAblation(lambda z, m=masked: torch.tensor(probability(m, z.numpy())))
        expected = ablation.attribute(torch.ones(1, n))[0]
        torch.testing.assert_close(found[row, :n], expected.float(), atol=2e-6, rtol=0)


def test_one_word_alone_and_both_sides_by_hand(
    responsive: PairClassifier, examples: list[PairExample]
) -> None:
    masked = bound(responsive, examples)
    valid = masked.batch.word_valid
    scores = {
        context: Occlusion(removal="pad", **LEAVE_OUT | {"context": context})(masked).scores
        for context in ("keep", "drop", "both")
    }
    torch.testing.assert_close(scores["both"], (scores["keep"] + scores["drop"]) / 2)
    nothing = torch.zeros_like(valid)[:, None]
    for word in range(valid.shape[1]):
        only = nothing.clone()
        only[..., word] = True
        p, p0 = (-masked.loss(only)).exp(), (-masked.loss(nothing)).exp()
        expected = (p - p0)[:, 0].masked_fill(~valid[:, word], 0.0)
        torch.testing.assert_close(scores["drop"][:, word], expected, atol=1e-6, rtol=0)


class Either(Both):
    """Sure of class 1 where it sees ``dog`` or ``cat``, else of class 0."""

    def __call__(self, inputs: ModelInput) -> torch.Tensor:
        seen = [
            ((inputs.token_ids == self.words.index(word)) & inputs.attention).any(1)
            for word in ("dog", "cat")
        ]
        either = (seen[0] | seen[1]).float() * 6 - 3
        return torch.stack([-either, either], 1)


def test_a_second_round_finds_the_word_that_another_stood_in_for() -> None:
    """Sure of class 1 where it sees word 2 or word 7: neither is missed, until one is gone."""
    model = Either()
    masked = MaskedModel(model, model.batch(), "pad", token_budget=4096)
    once, twice = (
        Occlusion(removal="pad", **LEAVE_OUT | {"rounds": rounds, "per_round": 1})(masked).scores[0]
        for rounds in (1, 4)
    )
    assert float(once.abs().max()) == pytest.approx(0)
    # Words 0 and 1 go first, being the earliest of equals, then word 2; then word 7 is missed.
    assert int(twice.argmax()) == 7
    assert float(twice[7]) > 0.5


@pytest.mark.parametrize("changes", [{"context": "none"}, {"rounds": 0}, {"per_round": 0}])
def test_occlusion_settings_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="|".join(changes)):
        Occlusion(removal="pad", **LEAVE_OUT | changes)


# All of them


@pytest.mark.parametrize("name", ["lime", "paired_ridge", "kernel_shap", "occlusion"])
def test_the_words_of_a_planted_and_across_the_sides_come_first(name: str) -> None:
    """A black box: sure of class 1 where it sees word 2 of side one and word 7 of both."""
    model = Both()
    masked = MaskedModel(model, model.batch(), "pad", token_budget=4096)
    scores = explainer_of(name, "explainer.removal=pad")(masked).scores[0]
    assert set(scores.topk(2).indices.tolist()) == {2, 7}
    assert bool((scores[[2, 7]] > 10 * scores[[0, 1, 3, 4, 5, 6, 8, 9, 10]].abs().max()).all())
    assert int(masked.gradients.sum()) == 0


def test_costs_are_as_documented(responsive: PairClassifier, examples: list[PairExample]) -> None:
    """Evaluations beyond the prediction's, for pairs of 15, 9 and 5 words."""
    sizes = [15, 9, 5]
    keys = responsive.encoder("word")(examples).keys

    def spent(explainer: Any) -> list[int]:
        masked = bound(responsive, examples)
        assert masked.evaluations.tolist() == [1, 1, 1]
        explainer(masked)
        assert masked.gradients.tolist() == [0, 0, 0]
        return (masked.evaluations - 1).tolist()

    def distinct(rows: torch.Tensor) -> int:
        return len(torch.unique(rows, dim=0))

    assert spent(Occlusion(removal="pad", **LEAVE_OUT)) == sizes
    draws = zip(sizes, example_generators(0, keys), strict=True)
    expected = [distinct(perturbations(n, 300, generator)) for n, generator in draws]
    assert spent(Lime(**LIME | {"samples": 300})) == expected
    assert max(expected) <= 300
    for rows in (3, 12):
        draws = zip(sizes, example_generators(0, keys), strict=True)
        expected = [distinct(paired_perturbations(n, rows * n, g)) for n, g in draws]
        assert spent(PairedRidge(**PAIRED | {"samples_per_word": rows})) == expected
    draws = zip(sizes, example_generators(0, keys), strict=True)
    expected = [1 + distinct(coalitions(n, 600, generator)[0]) for n, generator in draws]
    assert spent(KernelShap(**SHAP | {"samples": 600})) == expected
    assert expected[1:] == [2**9 - 1, 2**5 - 1]
    assert expected[0] <= 601


@pytest.mark.parametrize(
    ("explainer", "settings", "word"),
    [
        (Lime, LIME | {"samples": 1}, "samples=1"),
        (Lime, LIME | {"alpha": 0.0}, "alpha=0"),
        (PairedRidge, PAIRED | {"samples_per_word": 2}, "samples_per_word=2"),
        (PairedRidge, PAIRED | {"alpha": 0.0}, "alpha=0"),
        (KernelShap, SHAP | {"samples": 1}, "samples=1"),
        (KernelShap, SHAP | {"value": "logit"}, "logit"),
    ],
)
def test_impossible_settings(explainer: Any, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word):
        explainer(**settings)
