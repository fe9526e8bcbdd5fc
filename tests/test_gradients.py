"""Gradient x input and integrated gradients against captum called on the embedding layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum.attr import LayerGradientXActivation, LayerIntegratedGradients
from test_imask import Both
from torch import Tensor, nn

from gmask_pl.explainers.gradient_x_input import GradientXInput
from gmask_pl.explainers.integrated_gradients import IntegratedGradients, quadrature
from gmask_pl.masking.masked_model import MaskedModel
from gmask_pl.models.bert import BertPairClassifier
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import ModelInput, PairBatch, PairExample, UserError


class SmoothBoth(Both):
    """`Both` as a smooth function: log-odds 6 * gate of ``dog`` * gate of ``cat`` - 3."""

    def __call__(self, inputs: ModelInput) -> Tensor:
        gate = inputs.attention.float() if inputs.gate is None else inputs.gate
        seen = [
            (gate * (inputs.token_ids == self.words.index(word)) * inputs.attention).sum(1)
            for word in ("dog", "cat")
        ]
        both = seen[0] * seen[1] * 6 - 3
        return torch.stack([-both / 2, both / 2], 1)


def bound(model: PairClassifier, examples: list[PairExample], removal: str) -> MaskedModel:
    return MaskedModel(model, model.encoder("word")(examples), removal, token_budget=8192)


def embedding_of(model: PairClassifier) -> nn.Embedding:
    if isinstance(model, BertPairClassifier):
        return model.network.get_input_embeddings()
    return model.embedding  # type: ignore[return-value]


def log_probability(model: PairClassifier, masked: MaskedModel) -> Callable[[Tensor], Tensor]:
    """log p(prediction) of the one pair of ``masked`` from its token ids alone."""
    batch = masked.batch

    def answer(ids: Tensor) -> Tensor:
        rows = [t.expand(len(ids), -1) for t in (batch.attention, batch.segment)]
        positions = torch.arange(ids.shape[1]).expand_as(ids)
        log_p = model(ModelInput(ids, *rows, positions)).log_softmax(-1)
        return log_p[:, int(masked.prediction[0])]

    return answer


def over_words(tokens: Tensor, batch: PairBatch) -> Tensor:
    """Attributions of tokens (1, L, D) summed over each word of the pair, (W,)."""
    total = tokens.sum(-1)[0]
    words = batch.word_of_token[0]
    sums = [total[words == w].sum() for w in range(batch.word_valid.shape[1])]
    return torch.stack(sums).detach()


def assert_scores_equal(found: Tensor, expected: list[Tensor]) -> None:
    size = max(float(scores.abs().max()) for scores in expected)
    assert size > 0.05
    for row, scores in enumerate(expected):
        torch.testing.assert_close(
            found[row, : len(scores)], scores.to(found.dtype), rtol=1e-3, atol=1e-5 * size
        )


def test_gradient_x_input_is_captums(
    responsive: PairClassifier, examples: list[PairExample]
) -> None:
    found = GradientXInput(removal="zero")(bound(responsive, examples, "zero")).scores
    expected = []
    for example in examples:
        masked = bound(responsive, [example], "zero")
        captum = LayerGradientXActivation(
            log_probability(responsive, masked), embedding_of(responsive)
        )
        expected.append(over_words(captum.attribute(masked.batch.token_ids), masked.batch))
    assert_scores_equal(found, expected)


@pytest.mark.parametrize("removal", ["zero", "mask"])
@pytest.mark.parametrize("method", ["gausslegendre", "riemann_middle"])
def test_integrated_gradients_are_captums(
    removal: str, method: str, responsive: PairClassifier, examples: list[PairExample]
) -> None:
    """Its baseline in token ids: padding, whose embedding is zero, or the mask token."""
    explainer = IntegratedGradients(removal=removal, n_steps=20, method=method)
    embedding = embedding_of(responsive)
    assert float(embedding.weight[responsive.pad_token_id].abs().max()) == 0.0
    blank = responsive.pad_token_id if removal == "zero" else responsive.mask_token_id
    found = explainer(bound(responsive, examples, removal)).scores
    expected = []
    for example in examples:
        masked = bound(responsive, [example], removal)
        ids = masked.batch.token_ids
        captum = LayerIntegratedGradients(log_probability(responsive, masked), embedding)
        tokens = captum.attribute(
            ids,
            baselines=torch.where(masked.batch.word_of_token >= 0, blank, ids),
            n_steps=20,
            method=method,
        )
        expected.append(over_words(tokens, masked.batch))
    assert_scores_equal(found, expected)


@pytest.mark.parametrize("removal", ["zero", "mask"])
def test_integrated_gradients_are_complete(
    removal: str, responsive: PairClassifier, examples: list[PairExample]
) -> None:
    """They add up to the difference of the log-probabilities at the ends of the path."""
    masked = bound(responsive, examples, removal)
    explainer = IntegratedGradients(removal=removal, n_steps=1500, method="riemann_middle")
    ends = torch.stack([masked.batch.word_valid, torch.zeros_like(masked.batch.word_valid)], 1)
    loss = masked.loss(ends)
    difference = loss[:, 1] - loss[:, 0]
    assert float(difference.abs().max()) > 0.1
    torch.testing.assert_close(explainer(masked).scores.sum(1), difference, atol=5e-3, rtol=0)


def test_quadratures_integrate_powers() -> None:
    for power in range(4):
        points, weights = quadrature("gausslegendre", 2)
        assert float((weights * points**power).sum()) == pytest.approx(1 / (power + 1))
    points, weights = quadrature("riemann_middle", 2)
    assert points.tolist() == [0.25, 0.75]
    assert weights.tolist() == [0.5, 0.5]


def test_a_product_across_the_sides_by_hand() -> None:
    """log p = -log(1 + exp(3 - 6 g g')): only the two words count, each as much."""
    model = SmoothBoth()
    masked = MaskedModel(model, model.batch(), "zero", token_budget=4096)
    gradient = GradientXInput(removal="zero")(masked).scores[0]
    integrated = IntegratedGradients(removal="zero", n_steps=50, method="gausslegendre")(masked)
    slope = 6 / (1 + torch.tensor(3.0).exp())
    total = torch.tensor(3.0).sigmoid().log() - torch.tensor(-3.0).sigmoid().log()
    expected = torch.zeros(2, 11)
    expected[0, [2, 7]], expected[1, [2, 7]] = slope, total / 2
    torch.testing.assert_close(gradient, expected[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(integrated.scores[0], expected[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("explainer", "gradients"),
    [
        (GradientXInput(removal="zero"), 1),
        (IntegratedGradients(removal="zero", n_steps=7, method="gausslegendre"), 7),
    ],
)
def test_costs_are_as_documented(
    explainer: Any, gradients: int, responsive: PairClassifier, examples: list[PairExample]
) -> None:
    masked = bound(responsive, examples, "zero")
    explainer(masked)
    assert explainer.differentiates_masks
    assert masked.gradients.tolist() == [gradients] * 3
    assert masked.evaluations.tolist() == [1 + gradients] * 3


@pytest.mark.parametrize(("n_steps", "method"), [(0, "gausslegendre"), (5, "simpson")])
def test_impossible_settings(n_steps: int, method: str) -> None:
    with pytest.raises(UserError, match=f"{n_steps}|{method}"):
        IntegratedGradients(removal="zero", n_steps=n_steps, method=method)
