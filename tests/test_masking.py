"""Masked models: what removal, batching and gradients must hold."""

from __future__ import annotations

import pytest
import torch
from conftest import untrained

from gmask_pl.masking.masked_model import REMOVALS, MaskedModel, removal_named
from gmask_pl.models.dattn import DecomposableAttention
from gmask_pl.models.pair_classifier import PairClassifier
from gmask_pl.types import ModelInput, PairBatch, PairExample, UserError


def bound(
    model: PairClassifier, examples: list[PairExample], removal: str, budget: int = 64
) -> MaskedModel:
    return MaskedModel(model, model.encoder("word")(examples), removal, token_budget=budget)


def random_masks(batch: PairBatch, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(len(batch), count, batch.word_valid.shape[1], generator=generator) > 0.5


@pytest.mark.parametrize("removal", REMOVALS)
def test_keeping_all_words_is_the_untouched_model(
    classifier: PairClassifier, examples: list[PairExample], removal: str
) -> None:
    masked = bound(classifier, examples, removal)
    logits = masked.logits(masked.batch.word_valid[:, None])[:, 0]
    torch.testing.assert_close(logits, classifier.read(masked.batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("removal", REMOVALS)
def test_a_batch_gives_what_each_pair_gives_alone(
    classifier: PairClassifier, examples: list[PairExample], removal: str
) -> None:
    masked = bound(classifier, examples, removal)
    keep = random_masks(masked.batch, 6)
    together = masked.logits(keep)
    for row, example in enumerate(examples):
        alone = bound(classifier, [example], removal, budget=4096)
        width = alone.batch.word_valid.shape[1]
        torch.testing.assert_close(
            together[row], alone.logits(keep[row : row + 1, :, :width])[0], atol=1e-5, rtol=1e-5
        )


def test_dropping_hidden_tokens_equals_hiding_them(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    masked = bound(classifier, examples, "pad")
    batch = masked.batch
    keep = random_masks(batch, 1)[:, 0]
    for row in range(len(batch)):
        seen = [
            bool(batch.attention[row, i]) and (word < 0 or bool(keep[row, word]))
            for i, word in enumerate(batch.word_of_token[row].tolist())
        ]
        positions = torch.arange(len(seen))[None]
        inputs = ModelInput(
            batch.token_ids[row : row + 1],
            torch.tensor([seen]),
            batch.segment[row : row + 1],
            positions,
        )
        expected = classifier(inputs)[0]
        found = masked.logits(keep[:, None])[row, 0]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("removal", ["zero", "mask"])
def test_a_removed_word_stays_in_its_place_as_nothing_or_as_the_mask(
    responsive: PairClassifier, examples: list[PairExample], removal: str
) -> None:
    """Against whole rows, pair by pair, with every token read as if gradients were asked for."""
    masked = bound(responsive, examples, removal)
    batch, keep = masked.batch, random_masks(masked.batch, 5)
    found = masked.logits(keep)
    for row in range(len(batch)):
        n, one = int(batch.attention[row].sum()), slice(row, row + 1)
        words = batch.word_of_token[row, :n].tolist()
        for mask in range(5):
            kept = torch.tensor([[word < 0 or bool(keep[row, mask, word]) for word in words]])
            ids = batch.token_ids[one, :n]
            gate = kept.float().requires_grad_() if removal == "zero" else None
            inputs = ModelInput(
                ids if removal == "zero" else ids.where(kept, responsive.mask_token_id),
                torch.ones_like(kept).float().requires_grad_(),
                batch.segment[one, :n],
                torch.arange(n)[None],
                gate,
            )
            expected = responsive(inputs)[0].detach()
            torch.testing.assert_close(found[row, mask], expected, atol=1e-5, rtol=1e-5)


def test_removed_words_of_a_model_without_order_are_one_token_a_side(
    examples: list[PairExample],
) -> None:
    model = untrained("dattn")
    lengths: list[int] = []
    forward = model.forward

    def counted(inputs: ModelInput) -> torch.Tensor:
        lengths.append(inputs.token_ids.shape[1])
        return forward(inputs)

    model.forward = counted  # type: ignore[method-assign]
    masked = bound(model, examples, "zero")
    keep = torch.zeros(3, 1, masked.batch.word_valid.shape[1], dtype=torch.bool)
    keep[:, :, :2] = True
    lengths.clear()
    masked.logits(keep)
    assert max(lengths) <= 2 + 2


def test_deleting_a_word_reads_the_text_without_it(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    from conftest import make_example

    masked = bound(classifier, examples[:1], "delete")
    keep = masked.batch.word_valid[:, None].clone()
    keep[0, 0, [1, 4]] = False
    words = examples[0].words1
    shorter = " ".join(word for i, word in enumerate(words) if i not in (1, 4))
    rewritten = bound(classifier, [make_example("x", shorter, examples[0].text2)], "delete")
    expected = rewritten.logits(rewritten.batch.word_valid[:, None])
    torch.testing.assert_close(masked.logits(keep), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("removal", ["zero", "pad", "mask"])
def test_gradients_equal_finite_differences(
    classifier: PairClassifier, examples: list[PairExample], removal: str
) -> None:
    # Weights for which every gradient is far above the rounding of the differences (1e-4), with
    # few kinks within a step.
    gentle = isinstance(classifier, DecomposableAttention)
    for parameter in classifier.double().parameters():
        if gentle or parameter.dim() > 1:
            parameter.mul_(0.5 if gentle else 6.0)
    masked = bound(classifier, examples, removal)
    shape = (3, 2, masked.batch.word_valid.shape[1])
    soft = 0.2 + 0.6 * torch.rand(shape, generator=torch.Generator().manual_seed(0))
    _, gradient = masked.loss_gradient(soft)
    step = 1e-3
    assert gradient.abs().max() > 0.25
    for word in range(shape[2]):
        moved = soft.clone()
        moved[..., word] += step
        up, _ = masked.loss_gradient(moved)
        moved[..., word] -= 2 * step
        down, _ = masked.loss_gradient(moved)
        torch.testing.assert_close(gradient[..., word], (up - down) / (2 * step), atol=5e-3, rtol=0)


@pytest.mark.parametrize("removal", ["zero", "pad", "mask"])
def test_hard_losses_agree_with_and_without_gradient(
    classifier: PairClassifier, examples: list[PairExample], removal: str
) -> None:
    masked = bound(classifier, examples, removal)
    keep = random_masks(masked.batch, 9)
    loss, gradient = masked.loss_gradient(keep)
    torch.testing.assert_close(loss, masked.loss(keep), atol=1e-4, rtol=1e-4)
    assert gradient[~masked.batch.word_valid[:, None].expand_as(gradient)].eq(0).all()


def test_equal_masks_are_evaluated_once(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    masked = bound(classifier, examples, "pad")
    before = masked.evaluations.clone()
    masked.logits(masked.batch.word_valid[:, None].repeat(1, 5, 1))
    assert (masked.evaluations - before).tolist() == [1, 1, 1]


@pytest.mark.parametrize("removal", REMOVALS)
def test_no_words_can_be_asked_alone(
    classifier: PairClassifier, examples: list[PairExample], removal: str
) -> None:
    masked = bound(classifier, examples, removal)
    keep = random_masks(masked.batch, 2)
    keep[:, 0] = False
    alone = masked.logits(keep[:, :1])
    torch.testing.assert_close(alone, masked.logits(keep)[:, :1], atol=1e-5, rtol=1e-5)


def test_unknown_removal_and_deletion_gradient_are_user_errors(
    classifier: PairClassifier, examples: list[PairExample]
) -> None:
    with pytest.raises(UserError, match="blank"):
        removal_named("blank")
    masked = bound(classifier, examples, "delete")
    with pytest.raises(UserError, match="delete"):
        masked.loss_gradient(masked.batch.word_valid[:, None])
